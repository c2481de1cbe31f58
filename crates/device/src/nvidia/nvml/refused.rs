//! What a function of NVML returns that is not success.

use nvml_wrapper_sys::bindings as sys;
use thiserror::Error;

/// Why NVML did not do something.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The library has no such function.
    #[error("the driver is too old: it has no {0}")]
    Missing(&'static str),
    #[error("the card or its mode does not allow it")]
    NotSupported,
    #[error("only root may do it")]
    NoPermission,
    #[error("it is not there")]
    NotFound,
    #[error("it is in use")]
    InUse,
    #[error("there is no room for it")]
    NoRoom,
    #[error("the card does not answer; it fell off the bus or must be reset")]
    Lost,
    /// Any other code.
    #[error("NVML returned {0}")]
    Code(u32),
}

impl Refused {
    /// What a code means.
    pub(super) fn check(code: sys::nvmlReturn_t) -> Result<(), Self> {
        match code {
            sys::nvmlReturn_enum_NVML_SUCCESS => Ok(()),
            sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED => Err(Self::NotSupported),
            sys::nvmlReturn_enum_NVML_ERROR_NO_PERMISSION => Err(Self::NoPermission),
            sys::nvmlReturn_enum_NVML_ERROR_NOT_FOUND => Err(Self::NotFound),
            sys::nvmlReturn_enum_NVML_ERROR_IN_USE => Err(Self::InUse),
            sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_RESOURCES => Err(Self::NoRoom),
            sys::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST
            | sys::nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED => Err(Self::Lost),
            sys::nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND => {
                Err(Self::Missing("the function"))
            }
            other => Err(Self::Code(other)),
        }
    }
}

/// A function that the library has, or else what is missing.
macro_rules! function {
    ($nvml:expr, $name:ident) => {
        $nvml
            .lib()
            .$name
            .as_ref()
            .map_err(|_| $crate::nvidia::nvml::Refused::Missing(stringify!($name)))
    };
}

pub(super) use function;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let check = |code, expected: Result<(), Refused>| {
            assert_eq!(Refused::check(code), expected, "{code}");
        };
        check(0, Ok(()));
        check(3, Err(Refused::NotSupported));
        check(4, Err(Refused::NoPermission));
        check(6, Err(Refused::NotFound));
        check(15, Err(Refused::Lost));
        check(16, Err(Refused::Lost));
        check(19, Err(Refused::InUse));
        check(23, Err(Refused::NoRoom));
        check(999, Err(Refused::Code(999)));
    }
}
