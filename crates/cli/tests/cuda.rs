//! Training on a card where there is none.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, data};

#[test]
fn without_a_driver_training_on_a_card_says_so() {
    let place = Place::new();
    data::beir(&place.at("data"), 40);
    let workspace = "base = \"model\"\n[limits]\ndevice = \"cuda\"\n\
                     [tenant.a]\ndata = \"data\"\nepochs = 1\n";
    place.write("w.toml", workspace);
    let ran = place.run(&["train", "w.toml", "--quiet"]);
    if ran.code == Some(0) {
        return eprintln!("this machine has an NVIDIA card; not tested: training without");
    }
    ran.check("training without a card", 1, &["train on the card", "no CUDA driver", "hint: "]);
    let on_processor = ["train", "w.toml", "--quiet", "--device", "cpu", "--out", "other"];
    place.run(&on_processor).check("training on the processor", 0, &[]);
}
