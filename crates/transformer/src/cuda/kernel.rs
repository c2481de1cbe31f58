//! The table of all kernels.

/// Defines [`Kernel`] from one table: file, threads a block, and the kernels in it.
macro_rules! kernels {
    ($($file:literal, $threads:literal { $($(#[doc = $doc:literal])* $kernel:ident = $name:literal),* $(,)? })*) => {
        /// A kernel; its name is that of its function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kernel {
            $($($(#[doc = $doc])* $kernel),*),*
        }

        impl Kernel {
            /// Every kernel.
            pub(super) const ALL: &[Self] = &[$($(Self::$kernel),*),*];

            /// Its function's name.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $($(Self::$kernel => $name),*),*
                }
            }

            /// The file that it is in, as [`File::name`](super::source::File) has it.
            pub(super) fn file(self) -> &'static str {
                match self {
                    $($(Self::$kernel => $file),*),*
                }
            }

            /// Threads of a block, no more and no fewer.
            pub(super) fn threads(self) -> u32 {
                match self {
                    $($(Self::$kernel => $threads),*),*
                }
            }
        }
    };
}

kernels! {
    "gelu", 256 {
        /// `y = gelu(x)`.
        GeluForward = "gelu_forward",
        /// `dy *= gelu'(x)`.
        GeluBackward = "gelu_backward",
    }
    "norm", 256 {
        /// Rows of the embedding tables, normalised.
        Embed = "embed",
        /// `y = norm(x + delta)`.
        AddNorm = "add_norm",
        /// `y` again from its tape.
        NormAgain = "norm_again",
        /// The gradient by the norm's input.
        NormBackward = "norm_backward",
    }
    "linear", 256 {
        /// `y = x · weightᵀ + bias`.
        LinearForward = "linear_forward",
        /// `y = x · weight`.
        LinearBackward = "linear_backward",
    }
    "attention", 64 {
        /// Forward, heads up to 32 features.
        Attention32 = "attention_32",
        /// Gradients by queries.
        AttentionQueries32 = "attention_queries_32",
        /// Gradients by keys and values.
        AttentionKeys32 = "attention_keys_32",
        /// As above, heads up to 64 features.
        Attention64 = "attention_64",
        /// As above.
        AttentionQueries64 = "attention_queries_64",
        /// As above.
        AttentionKeys64 = "attention_keys_64",
        /// As above, heads up to 128 features.
        Attention128 = "attention_128",
        /// As above.
        AttentionQueries128 = "attention_queries_128",
        /// As above.
        AttentionKeys128 = "attention_keys_128",
    }
    "tensor_attention", 64 {
        /// Forward by tensor cores, heads up to 32 features.
        TensorAttention32 = "tensor_attention_32",
        /// Gradients by queries.
        TensorAttentionQueries32 = "tensor_attention_queries_32",
        /// Gradients by keys and values.
        TensorAttentionKeys32 = "tensor_attention_keys_32",
        /// As above, heads up to 64 features.
        TensorAttention64 = "tensor_attention_64",
        /// As above.
        TensorAttentionQueries64 = "tensor_attention_queries_64",
        /// As above.
        TensorAttentionKeys64 = "tensor_attention_keys_64",
    }
    "lora", 256 {
        /// `low = scale * dropout(x) · Aᵀ`.
        LoraLow = "lora_low",
        /// `y += low · Bᵀ`.
        LoraUp = "lora_up",
        /// `low` again, and its gradient.
        LoraLowSlopes = "lora_low_slopes",
        /// The gradients of `A` and `B`, of many rows slab by slab.
        LoraPairSlopes = "lora_pair_slopes",
        /// The gradient by `x`, and the sums of slabs.
        LoraInputSlopes = "lora_input_slopes",
    }
    "pool", 256 {
        /// One vector a text.
        PoolForward = "pool_forward",
        /// The gradient by token rows.
        PoolBackward = "pool_backward",
        /// Vectors of length 1.
        UnitForward = "unit_forward",
        /// The gradient by vectors before that.
        UnitBackward = "unit_backward",
    }
    "rows", 256 {
        /// f32 from reals.
        Widen = "widen",
        /// Reals from f32.
        Narrow = "narrow",
        /// Sums of rows in a given order.
        SumRows = "sum_rows",
    }
    "loss", 256 {
        /// Scores of anchors and columns.
        RankingScores = "ranking_scores",
        /// Softmax and cross entropy of each choice.
        RankingChoices = "ranking_choices",
        /// Gradients by anchors and columns.
        RankingSlopes = "ranking_slopes",
        /// Each tenant's loss.
        RankingValue = "ranking_value",
    }
    "optimizer", 256 {
        /// Sums of gradients in a given order.
        SumGradients = "sum_gradients",
        /// Sums of the squares of gradients, part by part.
        GradientSquares = "gradient_squares",
        /// The norms of gradients.
        GradientNorm = "gradient_norm",
        /// Clip and step.
        AdamwStep = "adamw_step",
    }
}
