//! The models of card that can be simulated.
//!
//! Memory is nominal, and MIG partitions follow NVIDIA's published profiles; a real card tells its
//! own numbers. A partition of half an H200 is rounded down so that two of them fit on the card.

use cotenant_types::{Card, Mebibytes, MigGeometry, MigProfile, Share};
use thiserror::Error;

/// A model of card that can be simulated.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// What it is called in `sim:8xH100-80GB`, in capitals or not.
    pub name: &'static str,
    /// Its maker's name for it.
    pub full_name: &'static str,
    /// Memory that jobs may have.
    pub memory: Mebibytes,
    /// Whether cards of this model in one node are joined by NVLink.
    pub is_linked: bool,
    /// Memory of partitions of 1, 2, 4 and (with eight slots) 8 slots; empty without MIG.
    sizes: &'static [Size],
}

/// A model that is not known.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no model of card that can be simulated; use one of {names}", names = names())]
pub struct UnknownModel(pub String);

/// A partition's memory, as its name has it and in MiB.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    gigabytes: u32,
    memory: Mebibytes,
}

/// Short names, and the model that each stands for.
const SHORT_NAMES: [(&str, &str); 2] = [("A100", "A100-80GB"), ("H100", "H100-80GB")];

static MODELS: [Model; 13] = [
    Model {
        name: "T4",
        full_name: "Tesla T4",
        memory: Mebibytes(15_360),
        is_linked: false,
        sizes: &[],
    },
    Model {
        name: "A10",
        full_name: "NVIDIA A10",
        memory: Mebibytes(23_028),
        is_linked: false,
        sizes: &[],
    },
    Model {
        name: "A30",
        full_name: "NVIDIA A30",
        memory: Mebibytes(24_576),
        is_linked: false,
        sizes: &[size(6, 5_836), size(12, 11_672), size(24, 23_344)],
    },
    Model {
        name: "A40",
        full_name: "NVIDIA A40",
        memory: Mebibytes(46_068),
        is_linked: false,
        sizes: &[],
    },
    Model {
        name: "A100-40GB",
        full_name: "NVIDIA A100-SXM4-40GB",
        memory: Mebibytes(40_960),
        is_linked: true,
        sizes: &[size(5, 4_864), size(10, 9_856), size(20, 19_968), size(40, 40_192)],
    },
    Model {
        name: "A100-80GB",
        full_name: "NVIDIA A100-SXM4-80GB",
        memory: Mebibytes(81_920),
        is_linked: true,
        sizes: &[size(10, 9_856), size(20, 19_968), size(40, 40_192), size(80, 80_384)],
    },
    Model {
        name: "L4",
        full_name: "NVIDIA L4",
        memory: Mebibytes(23_034),
        is_linked: false,
        sizes: &[],
    },
    Model {
        name: "L40S",
        full_name: "NVIDIA L40S",
        memory: Mebibytes(46_068),
        is_linked: false,
        sizes: &[],
    },
    Model {
        name: "H20",
        full_name: "NVIDIA H20",
        memory: Mebibytes(98_304),
        is_linked: true,
        sizes: &[size(12, 12_288), size(24, 24_576), size(48, 49_152), size(96, 98_304)],
    },
    Model {
        name: "H100-80GB",
        full_name: "NVIDIA H100 80GB HBM3",
        memory: Mebibytes(81_920),
        is_linked: true,
        sizes: &[size(10, 10_240), size(20, 20_480), size(40, 40_960), size(80, 81_920)],
    },
    Model {
        name: "H200",
        full_name: "NVIDIA H200",
        memory: Mebibytes(144_384),
        is_linked: true,
        sizes: &[size(18, 18_432), size(35, 35_840), size(71, 72_192), size(141, 144_384)],
    },
    Model {
        name: "B200",
        full_name: "NVIDIA B200",
        memory: Mebibytes(184_320),
        is_linked: true,
        sizes: &[size(23, 23_552), size(45, 46_080), size(90, 92_160), size(180, 184_320)],
    },
    Model {
        name: "RTX4090",
        full_name: "NVIDIA GeForce RTX 4090",
        memory: Mebibytes(24_564),
        is_linked: false,
        sizes: &[],
    },
];

const fn size(gigabytes: u32, mebibytes: u64) -> Size {
    Size { gigabytes, memory: Mebibytes(mebibytes) }
}

/// A profile before names and amounts: slices of compute, and where on the slots it may lie.
struct Shape {
    slices: u32,
    suffix: &'static str,
    width: u8,
    starts: &'static [u8],
    count_max: u8,
}

/// Of a card with eight slots of memory and seven slices of compute.
const SHAPES_OF_EIGHT: [Shape; 7] = [
    shape(1, 1, &[0, 1, 2, 3, 4, 5, 6], 7),
    Shape { suffix: "+me", ..shape(1, 1, &[0, 1, 2, 3, 4, 5, 6], 1) },
    shape(1, 2, &[0, 2, 4, 6], 4),
    shape(2, 2, &[0, 2, 4], 3),
    shape(3, 4, &[0, 4], 2),
    shape(4, 4, &[0], 1),
    shape(7, 8, &[0], 1),
];

/// Of a card with four slots of memory and four slices of compute.
const SHAPES_OF_FOUR: [Shape; 3] =
    [shape(1, 1, &[0, 1, 2, 3], 4), shape(2, 2, &[0, 2], 2), shape(4, 4, &[0], 1)];

const fn shape(slices: u32, width: u8, starts: &'static [u8], count_max: u8) -> Shape {
    Shape { slices, suffix: "", width, starts, count_max }
}

impl Model {
    /// Every model, by memory within a generation.
    pub fn all() -> &'static [Model] {
        &MODELS
    }

    /// The model of that name, in capitals or not.
    pub fn named(name: &str) -> Result<&'static Model, UnknownModel> {
        let is_short = |(short, _): &&(&str, &str)| short.eq_ignore_ascii_case(name);
        let full = SHORT_NAMES.iter().find(is_short).map_or(name, |(_, full)| full);
        let mut models = MODELS.iter();
        let unknown = || UnknownModel(name.chars().take(NAME_SHOWN_MAX).collect());
        models.find(|model| model.name.eq_ignore_ascii_case(full)).ok_or_else(unknown)
    }

    /// The model of a card, real or simulated, by its maker's name; none if it is not known here.
    pub fn of(card: &Card) -> Option<&'static Model> {
        MODELS.iter().find(|model| model.full_name == card.model)
    }

    /// The partitions that it offers in MIG mode; none if it has no such mode.
    pub fn mig(&self) -> Option<MigGeometry> {
        let (slots, slices, shapes) = match self.sizes.len() {
            0 => return None,
            3 => (4, 4, &SHAPES_OF_FOUR[..]),
            _ => (8, 7, &SHAPES_OF_EIGHT[..]),
        };
        let profile = |shape: &Shape| {
            let Size { gigabytes, memory } = self.sizes[shape.width.ilog2() as usize];
            let compute = Share::from_per_mille(shape.slices * 1000 / slices);
            MigProfile {
                name: format!("{}g.{gigabytes}gb{}", shape.slices, shape.suffix),
                memory,
                compute: compute.expect("a part of the slices is at most the whole"),
                width: shape.width,
                starts: shape.starts.to_vec(),
                count_max: shape.count_max,
            }
        };
        Some(MigGeometry { slots, profiles: shapes.iter().map(profile).collect() })
    }
}

/// Most characters of an unknown name that a message repeats.
const NAME_SHOWN_MAX: usize = 40;

fn names() -> String {
    let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_name() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(Model::named(name).ok().map(|model| model.full_name), expected, "{name:?}");
        };
        check("H100", Some("NVIDIA H100 80GB HBM3"));
        check("h100-80gb", Some("NVIDIA H100 80GB HBM3"));
        check("a100", Some("NVIDIA A100-SXM4-80GB"));
        check("A100-40GB", Some("NVIDIA A100-SXM4-40GB"));
        check("t4", Some("Tesla T4"));
        check("H1", None);
        check("", None);
        let message = Model::named("H101").unwrap_err().to_string();
        assert!(message.contains("\"H101\"") && message.contains("T4, A10, A30"), "{message}");
    }

    #[test]
    fn partitions_have_the_names_that_drivers_give_them() {
        let check = |name: &str, expected: &str| {
            let profiles = Model::named(name).unwrap().mig().map(|geometry| geometry.profiles);
            let names: Vec<_> = profiles.iter().flatten().map(|profile| &*profile.name).collect();
            assert_eq!(names.join(" "), expected, "{name}");
        };
        check("A100", "1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb");
        check("H200", "1g.18gb 1g.18gb+me 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb");
        check("A30", "1g.6gb 2g.12gb 4g.24gb");
        check("T4", "");
    }

    #[test]
    fn partitions_fit_on_their_card() {
        for model in Model::all() {
            for profile in model.mig().map(|mig| mig.profiles).iter().flatten() {
                let count = u64::from(profile.count_max);
                assert!(
                    profile.memory.0 * count <= model.memory.0,
                    "{} {}",
                    model.name,
                    profile.name
                );
                assert!(u64::from(profile.compute.per_mille()) * count <= 1000, "{}", profile.name);
                let slots = model.mig().unwrap().slots;
                assert!(profile.starts.iter().all(|start| start + profile.width <= slots));
                assert!(profile.starts.len() >= usize::from(profile.count_max));
            }
        }
    }
}
