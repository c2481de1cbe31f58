//! How a pool chooses among cards, as it is told when it starts.

use crate::daemon::Daemon;

#[test]
fn a_pool_shows_the_policy_in_force() {
    for (further, expected) in [(&[][..], "bid-price"), (&["--policy", "fgd"][..], "fgd")] {
        let daemon = Daemon::start_with("sim:2xH100", further);
        assert_eq!(daemon.client().pool().unwrap().policy, expected);
    }
}
