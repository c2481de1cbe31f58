//! Checkpoints with any content and the right hashes, for fuzzing.

use super::format::SectionWriter;

/// The bytes of a checkpoint file with this description and these sections after it. A fuzzer does
/// not guess hashes; with them, it gets to what a reader makes of the content.
pub fn assemble_checkpoint(description: &[u8], sections: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = SectionWriter::begin(&mut file).expect("memory can be written");
    for section in [description].iter().chain(sections) {
        writer.bytes(section).expect("memory can be written");
    }
    file
}
