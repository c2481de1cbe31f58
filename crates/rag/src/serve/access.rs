//! Who asks: the administrator, a tenant by its token, or anybody where there are no tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::error::ServeError;

/// The name in the file of tokens that may do everything; no tenant can have it.
const ADMIN: &str = "admin";
/// Shortest token, in bytes: 16 random letters cannot be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// Largest file of tokens, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most tokens: each request is compared with all of them, in about a tenth of a millisecond.
const TOKENS_MAX: usize = 10_000;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// There are no tokens: whoever reaches the server may do everything.
    Anybody,
    /// May do everything.
    Admin,
    /// May do what concerns itself.
    Tenant(Arc<str>),
}

impl Caller {
    /// The tenant to which all that it sees is narrowed.
    pub(super) fn tenant(&self) -> Option<&Arc<str>> {
        match self {
            Caller::Anybody | Caller::Admin => None,
            Caller::Tenant(name) => Some(name),
        }
    }

    /// Whether it may use what is this tenant's.
    pub(super) fn may_use(&self, tenant: &str) -> bool {
        self.tenant().is_none_or(|own| &**own == tenant)
    }

    /// Whether it may use an adapter of this name.
    pub(super) fn may_use_adapter(&self, name: &str) -> bool {
        self.may_use(owner(name))
    }
}

/// The tenant whose an adapter is: what stands before the first slash.
pub(super) fn owner(adapter: &str) -> &str {
    adapter.split_once('/').map_or(adapter, |(owner, _)| owner)
}

/// Hashes of tokens, each with whose it is.
#[derive(Debug, Default)]
pub(super) struct Access(Vec<([u8; 32], Caller)>);

impl Access {
    /// Reads `tenant = "token"` lines of TOML; `admin` is the administrator.
    pub(super) fn read(file: &Path) -> Result<Self, ServeError> {
        let failed = |problem: String, hint| {
            let file = file.to_owned();
            ServeError::Tokens { file, problem, hint }
        };
        let form = "a line is: TENANT = \"TOKEN\"";
        let (mut text, who) = (String::new(), "check the path and who may read it");
        // What a file says of its length need not be so: a device has none and never ends.
        let read = File::open(file)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        read.map_err(|error| failed(error.to_string(), who))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(failed(format!("it has more than {FILE_BYTES_MAX} bytes"), form));
        }
        Self::parse(&text).map_err(|problem| failed(problem, form))
    }

    fn parse(text: &str) -> Result<Self, String> {
        // A message of the parser would show the line, and so the token.
        let tokens: BTreeMap<String, String> = toml::from_str(text)
            .map_err(|_| "it is no TOML of names and quoted tokens".to_owned())?;
        if tokens.len() > TOKENS_MAX {
            return Err(format!("it has {} tokens, more than {TOKENS_MAX}", tokens.len()));
        }
        let (mut access, mut taken) = (Self::default(), BTreeSet::new());
        for (name, token) in tokens {
            if token.len() < TOKEN_BYTES_MIN {
                return Err(format!("the token of {name} has less than {TOKEN_BYTES_MIN} bytes"));
            }
            if name.is_empty() || name.contains(['/', ' ']) {
                return Err(format!("{name:?} is no name of a tenant"));
            }
            let hash = hash(&token);
            if !taken.insert(hash) {
                return Err(format!("the token of {name} is another one's too"));
            }
            let caller = if name == ADMIN { Caller::Admin } else { Caller::Tenant(name.into()) };
            access.0.push((hash, caller));
        }
        match access.0.is_empty() {
            true => Err("it has no token".to_owned()),
            false => Ok(access),
        }
    }

    /// Whether there are none, and so anybody may ask.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose a token is. All are compared, each to its end, whatever is given: how long that takes
    /// tells nothing of them.
    pub(super) fn of(&self, token: &str) -> Option<Caller> {
        let given = hash(token);
        let mut found = None;
        for (hash, caller) in &self.0 {
            let differing =
                hash.iter().zip(&given).fold(0, |bits, (one, other)| bits | (one ^ other));
            if std::hint::black_box(differing) == 0 {
                found = Some(caller);
            }
        }
        found.cloned()
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_tenants() {
        let access =
            Access::parse("law = \"0123456789abcdef\"\nadmin = \"fedcba9876543210\"").unwrap();
        let tenant = |name: &str| Caller::Tenant(name.into());
        for (token, expected) in [
            ("0123456789abcdef", Some(tenant("law"))),
            ("fedcba9876543210", Some(Caller::Admin)),
            ("0123456789abcdee", None),
            ("", None),
        ] {
            assert_eq!(access.of(token), expected, "{token}");
        }
        for bad in ["", "law = 3", "law = \"short\"", "\"a/b\" = \"0123456789abcdef\"", "law"] {
            let problem = Access::parse(bad).unwrap_err();
            assert!(!problem.contains("0123456789abcdef"), "{problem}");
        }
        let many: String =
            (0..=TOKENS_MAX).map(|at| format!("t{at} = \"0123456789-{at:08}\"\n")).collect();
        assert!(Access::parse(&many).unwrap_err().contains("more than 10000"));
        let twice = "a = \"0123456789abcdef\"\nb = \"0123456789abcdef\"";
        assert!(Access::parse(twice).unwrap_err().contains("another one's"));
    }

    #[test]
    fn a_tenant_may_use_what_is_its_own() {
        let law = Caller::Tenant("law".into());
        for (adapter, expected) in
            [("law", true), ("law/v2", true), ("lawyer", false), ("biology/law", false)]
        {
            assert_eq!(law.may_use_adapter(adapter), expected, "{adapter}");
            assert!(Caller::Anybody.may_use_adapter(adapter));
        }
    }
}
