//! The pool that the dashboard's tests look at: a real daemon.

use std::cell::RefCell;
use std::thread;

use cotenant_api::{Client, JobRequest, TenantRequest};

use crate::daemon::Daemon;

/// Connections over which many jobs are submitted at a time.
const SUBMITTERS: u32 = 8;

/// A pool with no job at first.
pub(crate) struct Pool(RefCell<Daemon>);

impl Pool {
    /// A pool with the cards that `--cards` describes, and the tenants `law` and `code`.
    pub(crate) fn start(cards: &str) -> Self {
        let daemon = Daemon::start(cards);
        for tenant in ["law", "code"] {
            let set = daemon.client().put_tenant(tenant, &TenantRequest::default());
            set.expect("a tenant can be added");
        }
        Self(RefCell::new(daemon))
    }

    /// Where it answers, such as `http://127.0.0.1:7777`.
    pub(crate) fn address(&self) -> String {
        self.0.borrow().address()
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        self.0.borrow().client()
    }

    /// Ends the daemon, and starts it again with the same folder and port.
    pub(crate) fn restart(&self) {
        let mut daemon = self.0.borrow_mut();
        daemon.kill();
        daemon.start_again(None);
        daemon.wait_for_answer();
    }

    /// Gives it so many jobs like this one.
    pub(crate) fn submit_many(&self, job: &JobRequest, jobs: u32) {
        let submit = |client: Client, share: u32| {
            for _ in 0..share {
                client.submit(job, None).expect("a job is taken");
            }
        };
        thread::scope(|scope| {
            for index in 0..SUBMITTERS {
                let client = self.client();
                let share = jobs / SUBMITTERS + u32::from(index < jobs % SUBMITTERS);
                scope.spawn(move || submit(client, share));
            }
        });
    }
}
