//! The head of an adapter that scores: from a text's first row to one number.
//!
//! ```text
//! score = w · tanh(D x + d) + b
//! ```
//! That is what transformers' `BertForSequenceClassification` (pooler, then classifier) and
//! `RobertaForSequenceClassification` (dense, then out_proj) compute with one label, so an adapter
//! with a head is read by both. The dense layer is trained with the rest and never taken from the
//! base model: many encoders were saved without one, and those of sentence encoders were not
//! trained to be read.

use std::ops::Range;

use crate::model::EncoderConfig;

/// Where a head's values lie in its adapter's flat buffer.
///
/// It begins with `D` the identity and all else zero: each score is 0, as a fresh pair changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Width of a row.
    pub hidden: usize,
    /// `D`, `[hidden, hidden]` row-major.
    pub dense: Range<usize>,
    /// `d`, `[hidden]`
    pub dense_bias: Range<usize>,
    /// `w`, `[1, hidden]`
    pub out: Range<usize>,
    /// `b`, `[1]`
    pub out_bias: Range<usize>,
    /// What published files call the parts.
    pub names: HeadNames,
}

/// The class of transformers whose head it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNames {
    /// `bert.pooler.dense` and `classifier`.
    Bert,
    /// `classifier.dense` and `classifier.out_proj`.
    Roberta,
}

/// A part of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadPart {
    /// `[hidden, hidden]`
    Dense,
    /// `[hidden]`
    DenseBias,
    /// `[1, hidden]`
    Out,
    /// `[1]`
    OutBias,
}

impl HeadPart {
    pub(crate) const ALL: [Self; 4] = [Self::Dense, Self::DenseBias, Self::Out, Self::OutBias];

    /// Its name in transformers' model with a head.
    pub(crate) fn name(self, names: HeadNames) -> &'static str {
        match (names, self) {
            (HeadNames::Bert, Self::Dense) => "bert.pooler.dense.weight",
            (HeadNames::Bert, Self::DenseBias) => "bert.pooler.dense.bias",
            (HeadNames::Bert, Self::Out) => "classifier.weight",
            (HeadNames::Bert, Self::OutBias) => "classifier.bias",
            (HeadNames::Roberta, Self::Dense) => "classifier.dense.weight",
            (HeadNames::Roberta, Self::DenseBias) => "classifier.dense.bias",
            (HeadNames::Roberta, Self::Out) => "classifier.out_proj.weight",
            (HeadNames::Roberta, Self::OutBias) => "classifier.out_proj.bias",
        }
    }

    pub(crate) fn shape(self, head: &Head) -> Vec<usize> {
        match self {
            Self::Dense => vec![head.hidden, head.hidden],
            Self::DenseBias => vec![head.hidden],
            Self::Out => vec![1, head.hidden],
            Self::OutBias => vec![1],
        }
    }

    pub(crate) fn range(self, head: &Head) -> Range<usize> {
        match self {
            Self::Dense => head.dense.clone(),
            Self::DenseBias => head.dense_bias.clone(),
            Self::Out => head.out.clone(),
            Self::OutBias => head.out_bias.clone(),
        }
    }
}

impl HeadNames {
    /// What stands in front of the encoder's own names in the model with a head.
    pub(crate) fn encoder_prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta => "roberta.",
        }
    }
}

/// What [`Head::scores`] keeps for [`Head::backward`]: reusing it reuses its buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeadTape {
    /// `[texts, hidden]`, after tanh.
    activated: Vec<f32>,
    /// `[hidden]`, of the text at hand.
    slopes: Vec<f32>,
}

impl Head {
    /// Its values among the adapter's: all parts, which follow each other.
    pub fn values(&self) -> Range<usize> {
        self.dense.start..self.out_bias.end
    }

    /// A head whose values begin at a place.
    pub(super) fn behind(begin: usize, config: &EncoderConfig) -> Self {
        let hidden = config.hidden;
        let dense = begin..begin + hidden * hidden;
        let dense_bias = dense.end..dense.end + hidden;
        let out = dense_bias.end..dense_bias.end + hidden;
        let out_bias = out.end..out.end + 1;
        let names = Self::names_for(config);
        Self { hidden, dense, dense_bias, out, out_bias, names }
    }

    /// What the parts are called in a model of this configuration: only the RoBERTa family counts
    /// positions from another place than 0.
    pub(super) fn names_for(config: &EncoderConfig) -> HeadNames {
        match config.position_offset {
            0 => HeadNames::Bert,
            _ => HeadNames::Roberta,
        }
    }

    /// The place behind its last value.
    pub(super) fn end(&self) -> usize {
        self.out_bias.end
    }

    pub(super) fn initialize(&self, values: &mut [f32]) {
        values[self.dense.clone()].iter_mut().step_by(self.hidden + 1).for_each(|one| *one = 1.0);
    }

    /// Writes one score a text to `scores`, from `rows: [texts, hidden]`, the rows of first tokens
    /// that [`Encoder::embed`](crate::Encoder::embed) gives. A score depends on its row alone.
    ///
    /// # Panics
    /// If `values` is not the buffer that the head is in, or there are not as many rows as scores.
    pub fn scores(&self, values: &[f32], rows: &[f32], tape: &mut HeadTape, scores: &mut [f32]) {
        assert_eq!(rows.len(), scores.len() * self.hidden, "one row a score");
        tape.activated.resize(rows.len(), 0.0);
        let (dense, out) = (&values[self.dense.clone()], &values[self.out.clone()]);
        let (biases, bias) = (&values[self.dense_bias.clone()], values[self.out_bias.start]);
        let texts =
            rows.chunks_exact(self.hidden).zip(tape.activated.chunks_exact_mut(self.hidden));
        for ((row, activated), score) in texts.zip(scores) {
            let layer = dense.chunks_exact(self.hidden).zip(biases);
            for (to, (weights, bias)) in activated.iter_mut().zip(layer) {
                *to = (dot(weights, row) + bias).tanh();
            }
            *score = dot(out, activated) + bias;
        }
    }

    /// Adds the gradients of a loss whose gradient by the scores is `d_scores` to the head's part of
    /// `gradient`, and to `d_rows: [texts, hidden]`. `rows` and `tape` are those of
    /// [`Head::scores`]; texts are summed in their order.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn backward(&self, values: &[f32], tape: &mut HeadTape, slopes: HeadSlopes<'_>) {
        let HeadSlopes { rows, d_scores, d_rows, gradient } = slopes;
        let hidden = self.hidden;
        assert_eq!(rows.len(), d_scores.len() * hidden, "one row a score");
        assert_eq!(rows.len(), d_rows.len(), "one gradient a row");
        let HeadTape { activated, slopes } = tape;
        let (dense, out) = (&values[self.dense.clone()], &values[self.out.clone()]);
        for (at, &d_score) in d_scores.iter().enumerate() {
            let text = at * hidden..(at + 1) * hidden;
            let (row, activated) = (&rows[text.clone()], &activated[text.clone()]);
            gradient[self.out_bias.start] += d_score;
            add(d_score, activated, &mut gradient[self.out.clone()]);
            slopes.clear();
            slopes.extend(activated.iter().zip(out).map(|(a, w)| d_score * w * (1.0 - a * a)));
            add(1.0, slopes, &mut gradient[self.dense_bias.clone()]);
            let d_row = &mut d_rows[text];
            let parts = gradient[self.dense.clone()].chunks_exact_mut(hidden);
            for ((&slope, weights), part) in
                slopes.iter().zip(dense.chunks_exact(hidden)).zip(parts)
            {
                add(slope, row, part);
                add(slope, weights, d_row);
            }
        }
    }
}

/// The buffers of [`Head::backward`].
#[derive(Debug)]
pub struct HeadSlopes<'a> {
    /// `[texts, hidden]`, what the head read.
    pub rows: &'a [f32],
    /// `[texts]`, the gradient by the scores.
    pub d_scores: &'a [f32],
    /// `[texts, hidden]`, where the gradient by the rows is added.
    pub d_rows: &'a mut [f32],
    /// Of the adapter's length, where the gradient by the head's values is added.
    pub gradient: &'a mut [f32],
}

/// Sum of products, in 16 running sums that are added up in the end.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn add(factor: f32, from: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}
