//! Arguments of `doctor`.

use std::ffi::OsString;

use clap::Args;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Say what was seen after so many seconds; the program runs on. To its end if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub seconds: Option<u32>,
    /// Leave out what costs less than this part of the time, in percent
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 5,
        value_parser = clap::value_parser!(u8).range(0..=100)
    )]
    pub min_share: u8,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}
