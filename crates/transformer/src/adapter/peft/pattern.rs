//! How `peft` picks modules by name: lists of suffixes, and patterns with a value each.

/// A key of `rank_pattern` or `alpha_pattern`. `peft` reads it as a regular expression that a
/// module's name must end with, at a dot; here it must be a plain name, where both mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    name: String,
    /// Begins with `^`: the whole name, not only its end.
    whole: bool,
}

impl Pattern {
    /// Reads a pattern; `None` if it is a regular expression in earnest.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, text) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = text.strip_suffix('$').unwrap_or(text);
        // An escaped dot is a dot; one that is not stands for any character, but only a dot is
        // ever in its place in names such as these.
        let name = text.replace("\\.", ".");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        (!name.is_empty() && name.bytes().all(plain)).then_some(Self { name, whole })
    }

    /// Whether a module's name is meant.
    pub(super) fn matches(&self, module: &str) -> bool {
        module == self.name || (!self.whole && ends_with(module, &self.name))
    }
}

/// The modules that `target_modules` or `exclude_modules` name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Names, of which a module's name must be one or end with one at a dot.
    Names(Vec<String>),
    /// A regular expression, which is not evaluated: the tensors show what it selected.
    Expression,
}

impl Selection {
    /// Whether a module is selected by one of its whole names, by the end of its name, or not;
    /// `None` where only the tensors can tell.
    pub(super) fn select(&self, module: &str) -> Option<Selected> {
        match self {
            Selection::Expression => None,
            Selection::Names(names) if names.iter().any(|name| name == module) => {
                Some(Selected::Whole)
            }
            Selection::Names(names) if names.iter().any(|name| ends_with(module, name)) => {
                Some(Selected::End)
            }
            Selection::Names(_) => Some(Selected::Not),
        }
    }
}

/// How a [`Selection`] selects a module; `layers_to_transform` narrows only the second way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    Whole,
    End,
    Not,
}

fn ends_with(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Selected, Selection};

    #[test]
    fn patterns_mean_what_peft_makes_of_them() {
        let query = "encoder.layer.1.attention.self.query";
        let cases = [
            ("query", query, Some(true)),
            ("self.query", query, Some(true)),
            ("self\\.query", query, Some(true)),
            ("self.query$", query, Some(true)),
            ("layer.1.attention.self.query", query, Some(true)),
            (query, query, Some(true)),
            ("uery", query, Some(false)),
            ("key", query, Some(false)),
            ("^self.query", query, Some(false)),
            ("^encoder.layer.1.attention.self.query", query, Some(true)),
            ("1.attention.self.query", "encoder.layer.11.attention.self.query", Some(false)),
            ("", query, None),
            ("^", query, None),
            (".*query", query, None),
            ("layer.(0|1).attention.self.query", query, None),
            ("layer.[01].attention.self.query", query, None),
        ];
        for (pattern, module, expected) in cases {
            let found = Pattern::parse(pattern).map(|pattern| pattern.matches(module));
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn selections_end_at_dots() {
        let names = |names: &[&str]| Selection::Names(names.iter().map(|&n| n.into()).collect());
        let output = "encoder.layer.0.output.dense";
        let attention = "encoder.layer.0.attention.output.dense";
        let cases = [
            (names(&["output.dense"]), output, Some(Selected::End)),
            (names(&["output.dense"]), attention, Some(Selected::End)),
            (names(&["attention.output.dense"]), output, Some(Selected::Not)),
            (names(&["encoder.layer.0.output.dense"]), output, Some(Selected::Whole)),
            (names(&["layer.0.output.dense"]), output, Some(Selected::End)),
            (names(&["layer.0.output.dense"]), attention, Some(Selected::Not)),
            (names(&["put.dense"]), output, Some(Selected::Not)),
            (names(&[]), output, Some(Selected::Not)),
            (Selection::Expression, output, None),
        ];
        for (selection, module, expected) in cases {
            assert_eq!(selection.select(module), expected, "{selection:?} {module}");
        }
    }
}
