//! The reference page of the workspace, written from the keys themselves.

use super::config::{Limits, TenantConfig};
use super::keys::{Key, Kind, tenant_keys};
use super::limits::LIMITS;

/// `docs/workspace.md`: every key with what it accepts, its default and its meaning.
pub fn reference() -> String {
    let tenant = TenantConfig::new("any".parse().expect("a valid name"));
    let mut page = String::from(HEAD);
    page.push_str("\n## `[tenant.NAME]` and `[defaults]`\n\n");
    page.push_str(
        "A name has 1 to 63 of `a-z`, `0-9`, `-` and `_`.\n\
         `[defaults]` takes the same keys but `data`, for every tenant that does not say \
         otherwise.\n\n",
    );
    table(&mut page, tenant_keys(), &tenant);
    page.push_str("\n## `[limits]`\n\n");
    table(&mut page, LIMITS.iter(), &Limits::default());
    page
}

const HEAD: &str = "# The workspace file

This page is generated from the keys in the source; `cargo xtask tidy` checks that it is fresh.

A workspace is one TOML file: a base model that is shared, and the tenants whose adapters are \
trained on it.
Paths are relative to the file's folder.
A key that does not exist is refused, with a guess at what was meant.

```toml
base = \"all-MiniLM-L6-v2\"

[tenant.science]
data = \"data/scifact\"

[tenant.code]
data = \"data/pairs.jsonl\"
rank = 16
epochs = 3
```

## The top

| key | accepts | default | meaning |
| --- | --- | --- | --- |
| `base` | text | (required) | The base model: a known name (`cotenant model list`), a folder or a \
hub id (`organisation/name`). |
";

fn table<'k, T: 'static>(page: &mut String, keys: impl Iterator<Item = &'k Key<T>>, defaults: &T) {
    page.push_str("| key | accepts | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let default = (key.default)(defaults);
        let default = if default.starts_with('(') { default } else { format!("`{default}`") };
        let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let accepts = key.kind.describe();
        page.push_str(&format!("| `{}` | {accepts} | {default} | {doc} |\n", key.name));
    }
}

impl<T> Kind<T> {
    /// What is accepted, in words that fit after "must be".
    pub(super) fn describe(&self) -> String {
        let quoted = |words: &[&str]| {
            words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
        };
        match self {
            Kind::Integer { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max, .. } => format!("a number from {min} to {max}"),
            Kind::Boolean { .. } => "true or false".to_owned(),
            Kind::Text { .. } => "text".to_owned(),
            Kind::Word { words, .. } => format!("one of {}", quoted(words)),
            Kind::Words { words, .. } => {
                format!("a list of different words of {}", quoted(words))
            }
            Kind::Integers { below, .. } => {
                format!("a list of different whole numbers below {below}")
            }
            Kind::Paths { .. } => "a path or a list of paths".to_owned(),
        }
    }
}
