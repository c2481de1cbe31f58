//! Kernels, graphs, streams and events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::driver::{Arguments, Driver};
use super::script::{Answer, Failure, Line};
use super::{address, place};

/// What a tenant made for its work, by name.
#[derive(Default)]
pub(super) struct Work {
    streams: HashMap<String, usize>,
    events: HashMap<String, usize>,
    graphs: HashMap<String, usize>,
    /// Kernels by the multiprocessors that they take.
    kernels: HashMap<Option<u32>, usize>,
}

static CALLED: AtomicUsize = AtomicUsize::new(0);
/// A gate in a stream: open, closed, or closed and come to.
static GATE: AtomicUsize = AtomicUsize::new(OPEN);
const OPEN: usize = 0;
const CLOSED: usize = 1;
const REACHED: usize = 2;

extern "C" fn wait_at_gate(_data: *mut std::ffi::c_void) {
    let _ = GATE.compare_exchange(CLOSED, REACHED, Ordering::AcqRel, Ordering::Acquire);
    while GATE.load(Ordering::Acquire) != OPEN {
        std::thread::yield_now();
    }
}

extern "C" fn count_call(_data: *mut std::ffi::c_void) {
    CALLED.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn count_callback(_stream: usize, code: i32, _data: *mut std::ffi::c_void) {
    CALLED.fetch_add(usize::from(code == 0), Ordering::Relaxed);
}

impl Work {
    pub(super) fn act(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        match line.verb {
            "launch" => self.launch(driver, line),
            "work" => {
                let load = self.load(driver, line, line.number(0)?)?;
                keep_busy(driver, &load, line, line.number(1)?).map(|count| count.to_string())
            }
            "spend" => self.spend(driver, line),
            "fault" => break_context(driver),
            "graph" | "capture" => self.make_graph(driver, line),
            "play" => {
                let exec = *self.graphs.get(line.word(0)?).ok_or_else(|| unknown(line))?;
                let stream = self.stream(line.option("stream"))?;
                for _ in 0..line.option_number("count", 1u64)? {
                    driver.call("cuGraphLaunch", &[exec, stream])?;
                }
                Ok(String::new())
            }
            "upload" => {
                let exec = *self.graphs.get(line.word(0)?).ok_or_else(|| unknown(line))?;
                driver.call("cuGraphUpload", &[exec, 0])
            }
            "stream" => {
                let mut stream = 0usize;
                let flags = usize::from(line.word(1).is_ok_and(|word| word == "nonblocking"));
                driver.call("cuStreamCreate", &[address(&mut stream), flags])?;
                self.streams.insert(line.word(0)?.to_owned(), stream);
                Ok(String::new())
            }
            "event" | "record" | "await" | "sync" | "wait" | "elapsed" => self.time(driver, line),
            "host" => {
                let stream = self.stream(line.word(0).ok())?;
                driver.call("cuLaunchHostFunc", &[stream, count_call as *const () as usize, 0])
            }
            "callback" => {
                let stream = self.stream(line.word(0).ok())?;
                let callback = count_callback as *const () as usize;
                driver.call("cuStreamAddCallback", &[stream, callback, 0, 0])
            }
            "forget" => {
                let exec = self.graphs.remove(line.word(0)?).ok_or_else(|| unknown(line))?;
                driver.call("cuGraphExecDestroy", &[exec])
            }
            "gate" | "ungate" | "begin" | "end" => self.hold_back(driver, line),
            "drop" => {
                let stream = self.streams.remove(line.word(0)?).ok_or_else(|| unknown(line))?;
                driver.call("cuStreamDestroy_v2", &[stream])
            }
            "called" => Ok(CALLED.load(Ordering::Relaxed).to_string()),
            other => Err(Failure::Script(format!("'{other}' is no action"))),
        }
    }

    /// Events, and what is waited for.
    fn time(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        match line.verb {
            "event" => {
                let mut event = 0usize;
                driver.call("cuEventCreate", &[address(&mut event), 0])?;
                self.events.insert(line.word(0)?.to_owned(), event);
                Ok(String::new())
            }
            "record" => {
                let stream = self.stream(line.word(1).ok())?;
                driver.call("cuEventRecord", &[self.event(line.word(0)?)?, stream])
            }
            "await" => {
                let stream = self.stream(Some(line.word(0)?))?;
                driver.call("cuStreamWaitEvent", &[stream, self.event(line.word(1)?)?, 0])
            }
            "sync" => match line.word(0) {
                Ok(name) => driver.call("cuStreamSynchronize", &[self.stream(Some(name))?]),
                Err(_) => driver.call("cuCtxSynchronize", &[]),
            },
            "wait" => driver.call("cuEventSynchronize", &[self.event(line.word(0)?)?]),
            "elapsed" => {
                let (first, last) = (self.event(line.word(0)?)?, self.event(line.word(1)?)?);
                let mut ms = 0f32;
                driver.call("cuEventElapsedTime", &[address(&mut ms), first, last])?;
                Ok(format!("{:.0}", f64::from(ms) * 1e6))
            }
            other => Err(Failure::Script(format!("'{other}' waits for nothing"))),
        }
    }

    /// Streams whose work waits at a gate, or goes into a graph.
    fn hold_back(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        match line.verb {
            "gate" => {
                GATE.store(CLOSED, Ordering::Release);
                let stream = self.stream(Some(line.word(0)?))?;
                let answer = driver
                    .call("cuLaunchHostFunc", &[stream, wait_at_gate as *const () as usize, 0])?;
                // A thread of the driver's waits there: this one must go on.
                while GATE.load(Ordering::Acquire) != REACHED {
                    std::thread::yield_now();
                }
                Ok(answer)
            }
            "ungate" => {
                GATE.store(OPEN, Ordering::Release);
                Ok(String::new())
            }
            "begin" => {
                driver.call("cuStreamBeginCapture_v2", &[self.stream(Some(line.word(0)?))?, 0])
            }
            "end" => {
                let (stream, mut graph, mut exec) = (self.stream(Some(line.word(0)?))?, 0, 0);
                driver.call("cuStreamEndCapture", &[stream, address(&mut graph)])?;
                driver.call("cuGraphInstantiateWithFlags", &[address(&mut exec), graph, 0])?;
                self.graphs.insert(line.word(1)?.to_owned(), exec);
                driver.call("cuGraphDestroy", &[graph])
            }
            other => Err(Failure::Script(format!("'{other}' holds nothing back"))),
        }
    }

    fn launch(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        let function = self.kernel(driver, line)?;
        let stream = self.stream(line.option("stream"))?;
        let arguments = Arguments::new(line.number(0)?);
        let Shape { blocks, threads } = Shape::of(line)?;
        for _ in 0..line.option_number("count", 1u64)? {
            let arguments = arguments.address();
            match line.option("way").unwrap_or("plain") {
                "plain" => {
                    let to = [function, blocks, 1, 1, threads, 1, 1, 0, stream, arguments, 0];
                    driver.call("cuLaunchKernel", &to)?
                }
                "ex" => {
                    // Grid, block and shared memory, the stream, no attributes.
                    let config =
                        [blocks | 1 << 32, 1 | threads << 32, 1 | 1 << 32, 0, stream, 0, 0];
                    driver.call("cuLaunchKernelEx", &[place(&config), function, arguments, 0])?
                }
                "together" => {
                    let to = [function, blocks, 1, 1, threads, 1, 1, 0, stream, arguments];
                    driver.call("cuLaunchCooperativeKernel", &to)?
                }
                other => return Err(Failure::Script(format!("launch by '{other}'?"))),
            };
        }
        Ok(String::new())
    }

    /// Works for some milliseconds, and says how much was done in what time.
    fn spend(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        let load = match line.option("graph") {
            Some(name) => Load::Graph(*self.graphs.get(name).ok_or_else(|| unknown(line))?),
            None => self.load(driver, line, line.option_number("loops", 1)?)?,
        };
        let span_ns = line.number::<u64>(0)?.saturating_mul(1_000_000);
        let begun_ns = driver.now()?;
        let count = keep_busy(driver, &load, line, begun_ns.saturating_add(span_ns))?;
        Ok(format!("{count} {}", driver.now()? - begun_ns))
    }

    /// A kernel with its argument.
    fn load(&mut self, driver: &Driver, line: &Line<'_>, work: u64) -> Result<Load, Failure> {
        Ok(Load::Kernel(self.kernel(driver, line)?, Arguments::new(work), Shape::of(line)?))
    }

    /// A graph of equal kernels, node by node or from a stream.
    fn make_graph(&mut self, driver: &Driver, line: &Line<'_>) -> Answer {
        let function = self.kernel(driver, line)?;
        let (arguments, shape) = (Arguments::new(line.number(1)?), Shape::of(line)?);
        let count: usize = line.number(2)?;
        let (mut graph, mut exec, mut node) = (0usize, 0usize, 0usize);
        if line.verb == "capture" {
            let mut stream = 0usize;
            driver.call("cuStreamCreate", &[address(&mut stream), 1])?;
            driver.call("cuStreamBeginCapture_v2", &[stream, 0])?;
            let (bytes, mut start) = (line.option_number("bytes", 0usize)?, 0usize);
            if bytes > 0 {
                driver.call("cuMemAllocAsync", &[address(&mut start), bytes, stream])?;
            }
            let load = Load::Kernel(function, arguments, shape);
            for _ in 0..count {
                load.submit(driver, stream)?;
            }
            if bytes > 0 {
                driver.call("cuMemFreeAsync", &[start, stream])?;
            }
            driver.call("cuStreamEndCapture", &[stream, address(&mut graph)])?;
            driver.call("cuStreamDestroy_v2", &[stream])?;
        } else {
            driver.call("cuGraphCreate", &[address(&mut graph), 0])?;
            // Grid, block, shared memory; the two words at the end are those of the newer kind.
            let sides = [shape.blocks | 1 << 32, 1 | shape.threads << 32, 1 | 1 << 32];
            let arguments = arguments.address();
            let params = [function, sides[0], sides[1], sides[2], 0, arguments, 0, 0, 0];
            for _ in 0..count {
                let before = node;
                let len = usize::from(before != 0);
                let to = [address(&mut node), graph, place(&before), len, place(&params)];
                driver.call("cuGraphAddKernelNode_v2", &to)?;
            }
        }
        driver.call("cuGraphInstantiateWithFlags", &[address(&mut exec), graph, 0])?;
        driver.call("cuGraphDestroy", &[graph])?;
        self.graphs.insert(line.word(0)?.to_owned(), exec);
        Ok(String::new())
    }

    fn kernel(&mut self, driver: &Driver, line: &Line<'_>) -> Result<usize, Failure> {
        let sms = line.option("sms").map(|_| line.option_number("sms", 0)).transpose()?;
        if let Some(function) = self.kernels.get(&sms) {
            return Ok(*function);
        }
        let function = driver.kernel(sms)?;
        self.kernels.insert(sms, function);
        Ok(function)
    }

    fn stream(&self, name: Option<&str>) -> Result<usize, Failure> {
        let Some(name) = name else { return Ok(0) };
        let missing = || Failure::Script(format!("there is no stream '{name}'"));
        self.streams.get(name).copied().ok_or_else(missing)
    }

    fn event(&self, name: &str) -> Result<usize, Failure> {
        let missing = || Failure::Script(format!("there is no event '{name}'"));
        self.events.get(name).copied().ok_or_else(missing)
    }
}

/// What is submitted again and again.
enum Load {
    /// A function, its arguments and its shape.
    Kernel(usize, Box<Arguments>, Shape),
    /// A graph that can be launched.
    Graph(usize),
}

/// How many blocks of how many threads a kernel has.
#[derive(Clone, Copy)]
struct Shape {
    blocks: usize,
    threads: usize,
}

impl Shape {
    fn of(line: &Line<'_>) -> Result<Self, Failure> {
        Ok(Self {
            blocks: line.option_number("blocks", 1)?,
            threads: line.option_number("threads", 1)?,
        })
    }
}

impl Load {
    fn submit(&self, driver: &Driver, stream: usize) -> Answer {
        match self {
            Self::Kernel(function, arguments, Shape { blocks, threads }) => {
                let at = arguments.address();
                let to = [*function, *blocks, 1, 1, *threads, 1, 1, 0, stream, at, 0];
                driver.call("cuLaunchKernel", &to)
            }
            Self::Graph(exec) => driver.call("cuGraphLaunch", &[*exec, stream]),
        }
    }
}

/// Keeps some submissions in the stream until a time, as a busy program does, waits for the last,
/// and says how many there were.
fn keep_busy(
    driver: &Driver,
    load: &Load,
    line: &Line<'_>,
    until_ns: u64,
) -> Result<usize, Failure> {
    let ahead: usize = line.option_number("ahead", 4)?;
    let mut events = Vec::new();
    for _ in 0..ahead.max(1) {
        let mut event = 0usize;
        driver.call("cuEventCreate", &[address(&mut event), 2])?;
        events.push(event);
    }
    let mut count = 0usize;
    while driver.now()? < until_ns {
        let event = events[count % events.len()];
        if count >= events.len() {
            driver.call("cuEventSynchronize", &[event])?;
        }
        load.submit(driver, 0)?;
        driver.call("cuEventRecord", &[event, 0])?;
        count += 1;
    }
    driver.call("cuCtxSynchronize", &[])?;
    for event in events {
        driver.call("cuEventDestroy_v2", &[event])?;
    }
    Ok(count)
}

/// Has a kernel write where nothing is, and gives what the driver says of it.
fn break_context(driver: &Driver) -> Answer {
    let shape = Shape { blocks: 1, threads: 1 };
    Load::Kernel(driver.bad_kernel()?, Arguments::new(0), shape).submit(driver, 0)?;
    driver.call("cuCtxSynchronize", &[])
}

fn unknown(line: &Line<'_>) -> Failure {
    Failure::Script(format!("{} names nothing that there is", line.verb))
}
