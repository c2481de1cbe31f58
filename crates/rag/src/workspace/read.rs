//! From TOML text to a [`Workspace`], with the place of whatever is wrong.

use std::ops::Range;
use std::path::{Path, PathBuf};

use cotenant_types::TenantName;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::config::{Limits, TenantConfig, Workspace};
use super::error::{Place, WorkspaceError};
use super::keys::{EXCLUSIVE, Key, Kind, tenant_keys};
use super::limits::LIMITS;

/// Largest workspace file.
const BYTES_MAX: u64 = 1 << 20;
/// Most tenants of one workspace.
const TENANTS_MAX: usize = 4096;
/// What may stand at the top of the file.
const ROOT: [&str; 4] = ["base", "tenant", "defaults", "limits"];
/// What a person is told who has no idea yet.
const EXAMPLE: &str =
    "write\n  base = \"all-MiniLM-L6-v2\"\n  [tenant.science]\n  data = \"folder\"";

impl Workspace {
    /// Reads and checks a workspace file; paths in it are relative to its folder and must exist.
    pub fn read(path: &Path) -> Result<Self, WorkspaceError> {
        let owned = || path.to_owned();
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(WorkspaceError::Missing { path: owned() });
            }
            Err(source) => return Err(WorkspaceError::Io { path: owned(), source }),
            Ok(data) if data.len() > BYTES_MAX => {
                let problem = format!("it has {} bytes, more than {BYTES_MAX}", data.len());
                return Err(WorkspaceError::NotText { path: owned(), problem });
            }
            Ok(_) => {}
        }
        let bytes =
            std::fs::read(path).map_err(|source| WorkspaceError::Io { path: owned(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let problem = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
            WorkspaceError::NotText { path: owned(), problem }
        })?;
        Self::parse(path, &text)
    }

    /// Parses a workspace's text as if it were the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, WorkspaceError> {
        let reader = Reader { path, text };
        let root = DeTable::parse(text).map_err(|error| WorkspaceError::Syntax {
            place: reader.place(error.span().unwrap_or(0..0)),
            problem: error.message().trim().to_owned(),
        })?;
        reader.workspace(root.get_ref())
    }
}

/// The text that is read, for telling places.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

/// A key as it stands in the file, with its value.
type Item<'t, 'i> = (&'t str, Range<usize>, &'t Spanned<DeValue<'i>>);

impl Reader<'_> {
    fn workspace(&self, root: &DeTable<'_>) -> Result<Workspace, WorkspaceError> {
        let mut base = None;
        let mut limits = Limits::default();
        let mut tables = Vec::new();
        let unnamed = "defaults".parse().expect("a valid name");
        let mut defaults = TenantConfig::new(unnamed);
        for (name, span, value) in items(root) {
            match name {
                "base" => base = Some(self.base(span, value)?),
                "limits" => {
                    let table = self.table(name, span, value)?;
                    self.fill(&mut limits, table, "[limits]", || LIMITS.iter())?;
                }
                "defaults" => {
                    let table = self.table(name, span, value)?;
                    let keys = || tenant_keys().filter(|key| key.name != "data");
                    self.fill(&mut defaults, table, "[defaults]", keys)?;
                    self.exclusive(table)?;
                }
                "tenant" => tables = items(self.table(name, span, value)?),
                _ => return Err(self.unknown(name, span, "the workspace", &ROOT)),
            }
        }
        let base = base.ok_or_else(|| self.incomplete("there is no base model"))?;
        if tables.is_empty() {
            return Err(self.incomplete("there is no tenant"));
        }
        if tables.len() > TENANTS_MAX {
            return Err(self.incomplete(&format!("there are more than {TENANTS_MAX} tenants")));
        }
        let tenants = tables.into_iter().map(|item| self.tenant(&defaults, item));
        let tenants = tenants.collect::<Result<_, _>>()?;
        Ok(Workspace { file: self.path.to_owned(), base, limits, tenants })
    }

    fn tenant(
        &self,
        defaults: &TenantConfig,
        (name, span, value): Item<'_, '_>,
    ) -> Result<TenantConfig, WorkspaceError> {
        let problem = |error: cotenant_types::TenantNameError| WorkspaceError::Value {
            place: self.place(span.clone()),
            key: format!("[tenant.{name}]"),
            problem: format!("has no usable name: {error}"),
            hint: "names are like science, eu-support or team_2".to_owned(),
        };
        let name: TenantName = name.parse().map_err(problem)?;
        let shown = format!("[tenant.{name}]");
        let table = self.table(&shown, span.clone(), value)?;
        let mut tenant = TenantConfig { name, ..defaults.clone() };
        // What a tenant says itself replaces the other key of an excluding pair from [defaults].
        self.fill(&mut tenant, table, &shown, tenant_keys)?;
        self.exclusive(table)?;
        if tenant.data.is_empty() {
            return Err(WorkspaceError::Value {
                place: self.place(span),
                key: shown,
                problem: "has no data".to_owned(),
                hint: "add data = \"FOLDER\"".to_owned(),
            });
        }
        for target in &tenant.data {
            if !target.exists() {
                let at = table.iter().find(|(key, _)| key.get_ref() == "data");
                return Err(WorkspaceError::NoData {
                    place: self.place(at.map_or(span, |(_, value)| value.span())),
                    tenant: tenant.name.to_string(),
                    target: target.clone(),
                });
            }
        }
        Ok(tenant)
    }

    /// The base model's name; a relative path that leads to a folder is resolved.
    fn base(
        &self,
        span: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<String, WorkspaceError> {
        let base = value.get_ref().as_str().filter(|base| !base.trim().is_empty());
        let base = base.ok_or_else(|| WorkspaceError::Value {
            place: self.place(span),
            key: "base".to_owned(),
            problem: "must be the name, folder or hub id of a model, for example \
                      \"all-MiniLM-L6-v2\""
                .to_owned(),
            hint: "`cotenant model list` shows the names that are known".to_owned(),
        })?;
        let folder = self.resolve(base);
        Ok(if folder.is_dir() { folder.display().to_string() } else { base.to_owned() })
    }

    /// Sets what a table says; each key must be one of `keys`.
    fn fill<T: 'static, I: Iterator<Item = &'static Key<T>>>(
        &self,
        target: &mut T,
        table: &DeTable<'_>,
        shown: &str,
        keys: impl Fn() -> I,
    ) -> Result<(), WorkspaceError> {
        for (name, span, value) in items(table) {
            let Some(key) = keys().find(|key| key.name == name) else {
                let legal: Vec<&str> = keys().map(|key| key.name).collect();
                return Err(self.unknown(name, span, shown, &legal));
            };
            self.set(target, key, value.get_ref()).map_err(|problem| WorkspaceError::Value {
                place: self.place(value.span()),
                key: name.to_owned(),
                problem,
                hint: key.meaning(target),
            })?;
        }
        Ok(())
    }

    /// Checks a value's type and range and stores it; an error continues after the key's name.
    fn set<T>(&self, target: &mut T, key: &Key<T>, value: &DeValue<'_>) -> Result<(), String> {
        let wrong = || format!("must be {}, not {}", key.kind.describe(), shown(value));
        match &key.kind {
            Kind::Integer { min, max, set } => {
                set(target, integer(value, *min, *max).ok_or_else(wrong)?);
            }
            Kind::Number { min, max, set } => {
                let number = number(value).filter(|x| x >= min && x <= max);
                set(target, number.ok_or_else(wrong)? as f32);
            }
            Kind::Boolean { set } => set(target, value.as_bool().ok_or_else(wrong)?),
            Kind::Text { set } => set(target, value.as_str().ok_or_else(wrong)?.to_owned()),
            Kind::Word { words, set } => {
                let word = value.as_str().ok_or_else(wrong)?;
                let at = words.iter().position(|known| *known == word);
                set(target, at.ok_or_else(wrong)?);
            }
            Kind::Words { words, set } => {
                let places = list(value, |item| {
                    let word = item.as_str()?;
                    words.iter().position(|known| *known == word)
                });
                set(target, places.filter(|places| distinct(places)).ok_or_else(wrong)?);
            }
            Kind::Integers { below, set } => {
                let numbers =
                    list(value, |item| integer(item, 0, below - 1).map(|number| number as usize));
                set(target, numbers.filter(|numbers| distinct(numbers)).ok_or_else(wrong)?);
            }
            Kind::Paths { set } => {
                let path = |item: &DeValue<'_>| {
                    item.as_str().filter(|path| !path.is_empty()).map(|path| self.resolve(path))
                };
                let paths = path(value).map(|path| vec![path]).or_else(|| list(value, path));
                set(target, paths.ok_or_else(wrong)?);
            }
        }
        Ok(())
    }

    /// Refuses a table that gives both keys of an excluding pair.
    fn exclusive(&self, table: &DeTable<'_>) -> Result<(), WorkspaceError> {
        let span = |name: &str| {
            table.iter().find(|(key, _)| key.get_ref() == name).map(|(key, _)| key.span())
        };
        for (first, second) in EXCLUSIVE {
            if let (Some(one), Some(other)) = (span(first), span(second)) {
                let at = if one.start > other.start { one } else { other };
                return Err(WorkspaceError::Conflict { place: self.place(at), first, second });
            }
        }
        Ok(())
    }

    fn table<'t, 'i>(
        &self,
        name: &str,
        span: Range<usize>,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Result<&'t DeTable<'i>, WorkspaceError> {
        value.get_ref().as_table().ok_or_else(|| WorkspaceError::Value {
            place: self.place(span),
            key: name.to_owned(),
            problem: format!("must be a table, not {}", shown(value.get_ref())),
            hint: "write its name in [brackets] on a line, and its keys on the lines below"
                .to_owned(),
        })
    }

    fn unknown(
        &self,
        name: &str,
        span: Range<usize>,
        table: &str,
        legal: &[&str],
    ) -> WorkspaceError {
        let near = legal.iter().map(|key| (strsim::jaro_winkler(name, key), key));
        let near = near.max_by(|one, other| one.0.total_cmp(&other.0));
        let guess = match near {
            Some((likeness, key)) if likeness > 0.75 => format!("did you mean {key:?}? "),
            _ => String::new(),
        };
        WorkspaceError::UnknownKey {
            place: self.place(span),
            key: name.chars().take(100).collect(),
            table: table.to_owned(),
            hint: format!("{guess}the keys are {}", legal.join(", ")),
        }
    }

    fn incomplete(&self, problem: &str) -> WorkspaceError {
        let (path, problem) = (self.path.to_owned(), problem.to_owned());
        WorkspaceError::Incomplete { path, problem, hint: EXAMPLE.to_owned() }
    }

    /// A path of the file, relative to the file's folder.
    fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::of(self.path, self.text, span.start)
    }
}

/// A table's keys in the order in which the file has them.
fn items<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Item<'t, 'i>> {
    let items = table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value));
    let mut items: Vec<_> = items.collect();
    items.sort_by_key(|(_, span, _)| span.start);
    items
}

fn integer(value: &DeValue<'_>, min: u64, max: u64) -> Option<u64> {
    let integer = value.as_integer()?;
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    (min..=max).contains(&number).then_some(number)
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value.as_float() {
        Some(float) => float.as_str().parse().ok(),
        None => integer(value, 0, 1 << 53).map(|number| number as f64),
    }
}

/// A list of at least one item, each read by `read`.
fn list<V>(value: &DeValue<'_>, read: impl Fn(&DeValue<'_>) -> Option<V>) -> Option<Vec<V>> {
    let items = value.as_array()?.iter().map(|item| read(item.get_ref()));
    items.collect::<Option<Vec<V>>>().filter(|items| !items.is_empty())
}

fn distinct(numbers: &[usize]) -> bool {
    numbers.iter().enumerate().all(|(at, number)| !numbers[..at].contains(number))
}

/// A value as a person would recognise it, cut to a readable length.
fn shown(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
        DeValue::Array(items) => {
            let items = items.iter().take(8).map(|item| match item.get_ref() {
                DeValue::Array(_) | DeValue::Table(_) => "…".to_owned(),
                plain => shown(plain),
            });
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(_) => "a table".to_owned(),
    };
    text.chars().take(100).collect()
}
