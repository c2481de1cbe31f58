//! `config.json` of a BERT-family encoder.

use std::path::Path;

use super::ModelError;
use super::json::JsonFile;

/// Widest token vector; the largest published XLM-R has 4096.
const HIDDEN_MAX: usize = 1 << 14;
const LAYERS_MAX: usize = 512;
const INTERMEDIATE_MAX: usize = 1 << 17;
const VOCAB_MAX: usize = 1 << 23;
const POSITIONS_MAX: usize = 1 << 18;
const TOKEN_TYPES_MAX: usize = 1 << 10;

/// The shape of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Width of a token's vector.
    pub hidden: usize,
    /// Number of encoder layers.
    pub layers: usize,
    /// Attention heads; `hidden` is a multiple of it.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Number of word pieces.
    pub vocab: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the token-type table.
    pub token_types: usize,
    /// Added to the variance in a layer norm.
    pub norm_eps: f32,
    /// Position of a text's first token: 0 for BERT, padding index + 1 for RoBERTa and XLM-R.
    pub position_offset: usize,
}

impl EncoderConfig {
    /// Reads the content of a `config.json` as `transformers` writes it; `file` is named in errors.
    ///
    /// Refuses by name what would change the mathematics (another activation, relative positions,
    /// a decoder, quantised weights, code of the model's own), and every number outside its limits.
    pub fn from_json(bytes: &[u8], file: &Path) -> Result<Self, ModelError> {
        let json = JsonFile::parse(bytes, file)?;
        let family = family(&json)?;
        refuse_other_mathematics(&json)?;
        let hidden = json.count("hidden_size", HIDDEN_MAX)?;
        let heads = json.count("num_attention_heads", hidden)?;
        if !hidden.is_multiple_of(heads) {
            let expected = format!("a divisor of hidden_size, {hidden}");
            return Err(json.malformed("num_attention_heads", expected));
        }
        let vocab = json.count("vocab_size", VOCAB_MAX)?;
        let positions = json.count("max_position_embeddings", POSITIONS_MAX)?;
        let token_types = match json.get("type_vocab_size") {
            Some(_) => json.count("type_vocab_size", TOKEN_TYPES_MAX)?,
            None => 2,
        };
        let padding = json.index("pad_token_id", vocab - 1)?;
        let position_offset = match family {
            Family::Bert => 0,
            Family::Roberta => padding.unwrap_or(1) + 1,
        };
        if position_offset >= positions {
            let expected = format!("more than pad_token_id + 1 = {position_offset} positions");
            return Err(json.malformed("max_position_embeddings", expected));
        }
        let norm_eps = json.number("layer_norm_eps")?.unwrap_or(1e-12) as f32;
        if !(norm_eps > 0.0 && norm_eps < 1.0) {
            return Err(json.malformed("layer_norm_eps", "a number between 0 and 1"));
        }
        Ok(Self {
            hidden,
            layers: json.count("num_hidden_layers", LAYERS_MAX)?,
            heads,
            intermediate: json.count("intermediate_size", INTERMEDIATE_MAX)?,
            vocab,
            positions,
            token_types,
            norm_eps,
            position_offset,
        })
    }

    /// Width of one attention head.
    pub fn head(&self) -> usize {
        self.hidden / self.heads
    }

    /// Longest text in tokens that the position table allows.
    pub fn tokens_max(&self) -> usize {
        self.positions.saturating_sub(self.position_offset)
    }
}

/// How positions are counted.
enum Family {
    Bert,
    Roberta,
}

fn family(json: &JsonFile) -> Result<Family, ModelError> {
    let known = "use an encoder of model_type bert, roberta or xlm-roberta";
    match json.text("model_type")? {
        Some("bert") => Ok(Family::Bert),
        Some("roberta" | "xlm-roberta") => Ok(Family::Roberta),
        Some(_) => Err(json.unsupported("model_type", known)),
        None => Err(json.malformed("model_type", "bert, roberta or xlm-roberta")),
    }
}

fn refuse_other_mathematics(json: &JsonFile) -> Result<(), ModelError> {
    if !matches!(json.text("hidden_act")?, None | Some("gelu" | "gelu_python")) {
        return Err(json.unsupported("hidden_act", "only gelu (with erf) is computed"));
    }
    if !matches!(json.text("position_embedding_type")?, None | Some("absolute")) {
        let hint = "only absolute positions are computed";
        return Err(json.unsupported("position_embedding_type", hint));
    }
    for field in ["is_decoder", "add_cross_attention"] {
        if json.flag(field)? {
            return Err(json.unsupported(field, "only encoders run: use a model without it"));
        }
    }
    if json.get("auto_map").is_some() {
        let hint = "the model runs code of its own; use one that transformers runs without it";
        return Err(json.unsupported("auto_map", hint));
    }
    if json.get("quantization_config").is_some() {
        let hint = "use the model's unquantised weights (f32, f16 or bf16)";
        return Err(json.unsupported("quantization_config", hint));
    }
    let pruned = json.get("pruned_heads").and_then(|heads| heads.as_object());
    if pruned.is_some_and(|heads| !heads.is_empty()) {
        return Err(json.unsupported("pruned_heads", "use the model before its heads were pruned"));
    }
    Ok(())
}
