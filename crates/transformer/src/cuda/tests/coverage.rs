//! Plans against an interpreter of tables and grids: each element of an output belongs to exactly
//! one block. And the kernels' structs against the records.

use std::collections::BTreeMap;

use crate::cuda::plan::attention::{
    AttentionArgs, AttentionBackwardArgs, attention_tiles, rows_of_block,
};
use crate::cuda::plan::gelu::{GeluArgs, GeluBackwardArgs};
use crate::cuda::plan::linear::{LINEAR_TILE, LinearArgs, linear_forward};
use crate::cuda::plan::lora::{LoraArgs, LoraPair};
use crate::cuda::plan::loss::{LOSS_TILE, LossArgs, LossTiles, Ranking, RankingShape};
use crate::cuda::plan::norm::{AddNormArgs, EmbedArgs, NormAgainArgs, NormBackwardArgs};
use crate::cuda::plan::optimizer::{Step, StepArgs, Sum, SumArgs, norm_tiles, step_tiles};
use crate::cuda::plan::pool::{PoolArgs, PoolBackwardArgs, UnitArgs, UnitBackwardArgs};
use crate::cuda::plan::rows::{NarrowArgs, SumRowsArgs, WidenArgs};
use crate::cuda::plan::tile::Tile;
use crate::cuda::record::{Address, Record};
use crate::cuda::source::{FILES, HEADERS, Real};

/// One output: what it belongs to, and its rows and columns.
pub(super) type Output = ((u32, u32), [usize; 2]);

/// That tiles of such a size cover all these outputs, each element once, and nothing else.
#[track_caller]
pub(super) fn assert_covers(tiles: &[Tile], step: [usize; 2], outputs: &[Output]) {
    let mut counts: BTreeMap<(u32, u32), Vec<u32>> =
        outputs.iter().map(|(key, [rows, columns])| (*key, vec![0; rows * columns])).collect();
    let sizes: BTreeMap<(u32, u32), [usize; 2]> = outputs.iter().copied().collect();
    for tile in tiles {
        let key = (tile.subject, tile.kind);
        let [rows, columns] = sizes[&key];
        let (row, column) = (tile.row as usize, tile.column as usize);
        assert!(row < rows && column < columns, "{tile:?} is beyond its output");
        for row in row..rows.min(row + step[0]) {
            for column in column..columns.min(column + step[1]) {
                counts.get_mut(&key).unwrap()[row * columns + column] += 1;
            }
        }
    }
    for (key, counts) in counts {
        assert!(counts.iter().all(|&count| count == 1), "{key:?}: not each element once");
    }
}

#[test]
fn attention_takes_every_row_of_every_text_once() {
    let lengths = [1_u32, 63, 64, 65, 16, 17, 512, 0];
    let mut offsets = vec![0];
    offsets.extend(lengths.iter().scan(0, |sum, &len| {
        *sum += len;
        Some(*sum)
    }));
    let texts: Vec<Output> =
        (0..).zip(lengths).map(|(text, len)| ((text, 0), [len as usize, 1])).collect();
    for width in [8, 32, 40, 64, 128] {
        for real in Real::ALL {
            let tiles = attention_tiles(&offsets, real, width).unwrap();
            assert_covers(&tiles, [rows_of_block(real, width).unwrap(), 1], &texts);
        }
    }
}

#[test]
fn losses_and_steps_take_every_element_once() {
    let shape = |anchors, columns, is_symmetric| RankingShape { anchors, columns, is_symmetric };
    let shapes =
        [shape(1, 1, false), shape(0, 0, true), shape(64, 65, true), shape(130, 200, false)];
    let hidden = 100;
    let tiles = LossTiles::new(&shapes, hidden).unwrap();
    let outputs = |kind: u32, size: &dyn Fn(&RankingShape) -> [usize; 2]| {
        (0..).zip(&shapes).map(|(at, shape)| ((at, kind), size(shape))).collect::<Vec<Output>>()
    };
    let side = [LOSS_TILE; 2];
    assert_covers(&tiles.scores, side, &outputs(0, &|s| [s.anchors, s.columns]));
    assert_covers(&tiles.choices, [1, 1], &outputs(0, &|s| [s.choices(), 1]));
    assert_covers(&tiles.values, [1, 1], &outputs(0, &|s| [usize::from(s.anchors > 0), 1]));
    let by = [outputs(0, &|s| [s.anchors, hidden]), outputs(1, &|s| [s.columns, hidden])].concat();
    assert_covers(&tiles.slopes, side, &by);

    let counts = [1_u32, 0, 256, 257, 1000, 8193];
    let adapters = (0..).zip(counts).map(|(at, count)| ((at, 0), [count as usize, 1]));
    let adapters: Vec<Output> = adapters.collect();
    assert_covers(&step_tiles(&counts), [256, 1], &adapters);
    assert_covers(&norm_tiles(&counts), [8192, 1], &adapters);
}

#[test]
fn linear_layers_take_every_element_once() {
    for (rows, columns) in [(1, 1), (64, 64), (65, 130), (1000, 384)] {
        let nowhere = Address::NONE;
        let args = LinearArgs {
            x: nowhere,
            weight: nowhere,
            bias: nowhere,
            y: nowhere,
            rows,
            inner: 1,
            columns,
            is_added: 0,
        };
        let [across, down, _] = linear_forward(args).unwrap().unwrap().grid;
        let step = LINEAR_TILE as u32;
        let tile = |x, y| Tile { subject: 0, kind: 0, row: x * step, column: y * step };
        let tiles: Vec<Tile> =
            (0..across).flat_map(|x| (0..down).map(move |y| tile(x, y))).collect();
        assert_covers(&tiles, [LINEAR_TILE; 2], &[((0, 0), [rows as usize, columns as usize])]);
    }
}

/// The fields of a struct in the kernels' text, with their bytes.
fn fields_of(text: &str, name: &str) -> Vec<(String, usize)> {
    let (_, rest) = text.split_once(&format!("struct {name} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n};").unwrap();
    let lines = body.lines().map(|line| line.split("//").next().unwrap().trim());
    let declared = lines.filter(|line| !line.is_empty()).map(|line| {
        let (kind, field) = line.strip_suffix(';').unwrap().rsplit_once(' ').unwrap();
        let bytes = match (kind, field.strip_prefix('*')) {
            (_, Some(_)) | ("u64", None) => 8,
            ("u32" | "float", None) => 4,
            (kind, None) => panic!("{name} has a field of an unknown kind, {kind}"),
        };
        (field.trim_start_matches('*').to_owned(), bytes)
    });
    declared.collect()
}

fn assert_laid_out<R: Record>() {
    let all: String = FILES.iter().map(|file| file.text).collect();
    let records = R::FIELDS.iter().map(|&(name, bytes)| (name.to_owned(), bytes));
    let found = fields_of(&[HEADERS, &all].concat(), R::NAME);
    assert_eq!(found, records.collect::<Vec<_>>(), "{}", R::NAME);
}

/// Fields of the same sizes in the same order lie at the same places, by C's rules, which
/// `Record::write` follows; that sizes agree is seen by the host with every launch.
#[test]
fn records_have_the_fields_of_the_kernels_structs() {
    assert_laid_out::<AddNormArgs>();
    assert_laid_out::<AttentionArgs>();
    assert_laid_out::<AttentionBackwardArgs>();
    assert_laid_out::<EmbedArgs>();
    assert_laid_out::<GeluArgs>();
    assert_laid_out::<GeluBackwardArgs>();
    assert_laid_out::<LinearArgs>();
    assert_laid_out::<LoraArgs>();
    assert_laid_out::<LoraPair>();
    assert_laid_out::<LossArgs>();
    assert_laid_out::<NarrowArgs>();
    assert_laid_out::<NormAgainArgs>();
    assert_laid_out::<NormBackwardArgs>();
    assert_laid_out::<PoolArgs>();
    assert_laid_out::<PoolBackwardArgs>();
    assert_laid_out::<Ranking>();
    assert_laid_out::<Step>();
    assert_laid_out::<StepArgs>();
    assert_laid_out::<Sum>();
    assert_laid_out::<SumArgs>();
    assert_laid_out::<SumRowsArgs>();
    assert_laid_out::<Tile>();
    assert_laid_out::<UnitArgs>();
    assert_laid_out::<UnitBackwardArgs>();
    assert_laid_out::<WidenArgs>();
}
