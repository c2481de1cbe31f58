//! How a program finds functions, and what codes mean.

use std::ffi::CStr;
use std::sync::OnceLock;

use crate::codes::{Outcome, cuda};
use crate::ffi::{Exported, Out, Text, driver};
use crate::state;

const PER_THREAD: u64 = 2;
const FLAGS_MAX: u64 = 3;

/// What `cuGetProcAddress` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Address(usize),
    Unknown,
    /// The function came with a later version than the program wants, or than this driver is.
    TooNew,
}

/// Functions whose newest kind has another name: the name, from which version on, and that kind.
const RENAMED: [(&str, u32, &str); 1] =
    [("cuGraphInstantiate", 12_000, "cuGraphInstantiateWithFlags")];

driver! {
    11030 fn cuGetProcAddress(name: Text, address: Out<usize>, version: i32, flags: u64) {
        match find(name, version, flags)? {
            Found::Address(found) => address.set(found),
            Found::Unknown | Found::TooNew => {
                address.set(0)?;
                Err(cuda::NOT_FOUND)
            }
        }
    }

    12000 fn cuGetProcAddress_v2(
        name: Text,
        address: Out<usize>,
        version: i32,
        flags: u64,
        status: Out<i32>,
    ) {
        let (found, code) = match find(name, version, flags)? {
            Found::Address(found) => (found, 0),
            Found::Unknown => (0, 1),
            Found::TooNew => (0, 2),
        };
        status.set_if_wanted(code);
        address.set(found)
    }

    6000 fn cuGetErrorName(code: i32, text: Out<Text>) {
        match ERRORS.get_or_init(errors).iter().find(|error| error.0 == code) {
            Some((_, name, _)) => text.set(Text::constant(name)),
            None => unknown_error(text),
        }
    }

    6000 fn cuGetErrorString(code: i32, text: Out<Text>) {
        match ERRORS.get_or_init(errors).iter().find(|error| error.0 == code) {
            Some((_, _, said)) => text.set(Text::constant(said)),
            None => unknown_error(text),
        }
    }

    3000 fn cuGetExportTable(table: Out<usize>, _id: usize) {
        table.set(0)?;
        Err(cuda::NOT_FOUND)
    }

    4000 fn cuProfilerStart() { state::driver().map(drop) }

    4000 fn cuProfilerStop() { state::driver().map(drop) }
}

type Errors = Vec<(i32, &'static CStr, &'static CStr)>;
static ERRORS: OnceLock<Errors> = OnceLock::new();

/// Names and texts that end with a zero and stay.
fn errors() -> Errors {
    let kept = |text: &str| -> &'static CStr {
        let text = std::ffi::CString::new(text).expect("no name of an error holds a zero");
        Box::leak(text.into_boxed_c_str())
    };
    cuda::NAMES.iter().map(|(code, name, said)| (*code, kept(name), kept(said))).collect()
}

fn unknown_error(text: Out<Text>) -> Outcome {
    text.set(Text::null())?;
    Err(cuda::INVALID_VALUE)
}

fn find(name: Text, version: i32, flags: u64) -> Result<Found, crate::codes::Code> {
    let name = name.get()?;
    if flags > FLAGS_MAX {
        return Err(cuda::INVALID_VALUE);
    }
    let cards = state::cards().map_err(|_| cuda::NO_DEVICE)?;
    let wanted = u32::try_from(version).map_err(|_| cuda::INVALID_VALUE)?;
    static ALL: OnceLock<Vec<Exported>> = OnceLock::new();
    let all = ALL.get_or_init(super::exported);
    let found = choose(all, &name, wanted.min(cards.driver_version()));
    Ok(match found {
        Choice::Unknown => Found::Unknown,
        Choice::TooNew => Found::TooNew,
        Choice::Function(chosen) => {
            let own = all
                .iter()
                .find(|other| flags & PER_THREAD != 0 && is_per_thread_of(other.name, chosen.name));
            let chosen = own.copied().unwrap_or(chosen);
            match cards.is_missing(chosen.name) {
                true => Found::Unknown,
                false => Found::Address(chosen.address),
            }
        }
    })
}

/// What a name means to a version.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Function(Exported),
    Unknown,
    TooNew,
}

/// The newest kind of a function that a version has. Names are those without a version of the
/// function, as the interface says.
fn choose(all: &[Exported], name: &str, version: u32) -> Choice {
    let is_bare = all.iter().all(|one| one.name != name || !is_kind(name));
    if !is_bare {
        return Choice::Unknown;
    }
    let kinds = all.iter().filter(|one| is_kind_of(one.name, name));
    let newest = kinds.clone().filter(|one| one.since <= version).max_by_key(|one| one.since);
    let renamed = RENAMED.iter().find(|(old, since, _)| *old == name && *since <= version);
    let renamed = renamed.and_then(|(_, _, new)| all.iter().find(|one| one.name == *new));
    match renamed.or(newest) {
        Some(found) => Choice::Function(*found),
        None if kinds.count() > 0 => Choice::TooNew,
        None => Choice::Unknown,
    }
}

/// Whether `kind` is `name`, or `name` with a number of its own such as `_v2`.
fn is_kind_of(kind: &str, name: &str) -> bool {
    let rest = kind.strip_prefix(name);
    let is_number = |text: &str| text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix("_v").is_some_and(is_number))
}

/// Whether a name is that of one kind: it ends with a number or with what the thread's own have.
fn is_kind(name: &str) -> bool {
    let number = name.rsplit_once("_v").is_some_and(|(_, rest)| rest.parse::<u8>().is_ok());
    number || name.ends_with("_ptsz") || name.ends_with("_ptds")
}

fn is_per_thread_of(own: &str, name: &str) -> bool {
    matches!(own.strip_prefix(name), Some("_ptsz" | "_ptds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, version: u32, expected: &str) {
        let all = super::super::exported();
        let found = match choose(&all, name, version) {
            Choice::Function(found) => found.name,
            Choice::Unknown => "unknown",
            Choice::TooNew => "too new",
        };
        assert_eq!(found, expected, "{name} of {version}");
    }

    #[test]
    fn a_version_gets_the_newest_kind_that_it_has() {
        check("cuMemAlloc", 3000, "cuMemAlloc");
        check("cuMemAlloc", 12_040, "cuMemAlloc_v2");
        check("cuDeviceGetUuid", 11_030, "cuDeviceGetUuid");
        check("cuDeviceGetUuid", 11_040, "cuDeviceGetUuid_v2");
        check("cuCtxCreate", 13_000, "cuCtxCreate_v4");
        check("cuGetProcAddress", 11_080, "cuGetProcAddress");
        check("cuGetProcAddress", 12_000, "cuGetProcAddress_v2");
        check("cuGraphInstantiate", 11_080, "cuGraphInstantiate_v2");
        check("cuGraphInstantiate", 12_000, "cuGraphInstantiateWithFlags");
        check("cuLibraryLoadData", 11_080, "too new");
        check("cuMemAlloc_v2", 12_040, "unknown");
        check("cuMemcpyHtoD_v2_ptds", 12_040, "unknown");
        check("cuMem", 12_040, "unknown");
    }

    #[test]
    fn every_function_has_one_address_and_a_version() {
        let mut all = super::super::exported();
        assert!(all.len() > 200, "{}", all.len());
        assert!(all.iter().all(|one| one.since >= 2000 && one.since <= 13_000));
        all.sort_by_key(|one| one.address);
        let twins = all.windows(2).filter(|pair| pair[0].address == pair[1].address);
        assert_eq!(twins.map(|pair| pair[0].name).collect::<Vec<_>>(), Vec::<&str>::new());
        all.sort_by_key(|one| one.name);
        assert!(all.windows(2).all(|pair| pair[0].name != pair[1].name));
    }
}
