//! The one function that returns a text in place of a code.

use super::pointer::Text;

/// What a code of NVML means.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "it is NVML's function")]
pub(crate) extern "C" fn nvmlErrorString(code: i32) -> Text {
    Text::constant(match code {
        0 => c"Success",
        1 => c"Uninitialized",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        4 => c"Insufficient Permissions",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        9 => c"Driver Not Loaded",
        10 => c"Timeout",
        15 => c"GPU is lost",
        25 => c"Argument Version Mismatch",
        _ => c"Unknown Error",
    })
}
