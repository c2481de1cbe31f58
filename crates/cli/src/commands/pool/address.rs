//! Where the pool is, and who asks.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Where a pool is, if nothing says otherwise.
const DEFAULT: &str = "http://127.0.0.1:7777";

/// The address that is given, that the environment has, that the pool left, or the default.
pub(super) fn address(given: Option<&str>) -> Result<String, String> {
    if let Some(given) = given {
        return checked(given, "--pool");
    }
    if let Some(named) = variable("COTENANT_POOL")? {
        return checked(&named, "COTENANT_POOL");
    }
    let Some(file) = state_folder().map(|folder| folder.join("address")) else {
        return Ok(DEFAULT.to_owned());
    };
    match fs::read_to_string(&file) {
        Ok(text) => checked(&text, &file.display().to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(DEFAULT.to_owned()),
        Err(error) => Err(format!(
            "read the pool's address in {}: {error}\nhint: name the pool with --pool ADDRESS",
            file.display()
        )),
    }
}

/// The token of whoever asks. It is no flag, since everybody on the machine can read those.
pub(super) fn token() -> Result<Option<String>, String> {
    let Some(token) = variable("COTENANT_TOKEN")? else { return Ok(None) };
    let token = token.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("use the token in COTENANT_TOKEN: it has characters that no token has\n\
                    hint: make a new one with: cotenant tenant token NAME"
            .to_owned());
    }
    Ok(Some(token.to_owned()))
}

/// The folder in which a pool on this machine keeps what it must remember.
pub(super) fn state_folder() -> Option<PathBuf> {
    let folder =
        |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("COTENANT_STATE")
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("cotenant")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/cotenant")))
}

/// A variable of the environment; one that is empty is none.
fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(format!("read {name}: it is not UTF-8\nhint: set it to plain text, or unset it"))
        }
    }
}

/// The address in full; without a scheme it is HTTP.
fn checked(text: &str, from: &str) -> Result<String, String> {
    let text = text.trim();
    let (scheme, host) = text.split_once("://").unwrap_or(("http", text));
    let host = host.trim_end_matches('/');
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && matches!(scheme, "http" | "https") {
        return Ok(format!("{scheme}://{host}"));
    }
    Err(format!("use {text:?} of {from} as the pool's address\nhint: write it as {DEFAULT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(checked(text, "--pool").ok().as_deref(), expected, "{text:?}");
        };
        check("http://127.0.0.1:7777/\n", Some("http://127.0.0.1:7777"));
        check("localhost:7777", Some("http://localhost:7777"));
        check("https://pool.example", Some("https://pool.example"));
        check("ftp://pool", None);
        check("", None);
        check("http://", None);
        check("a b", None);
    }
}
