//! Arguments of `index`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::MachineArgs;

/// Arguments of `index`.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// What to do
    #[command(subcommand)]
    pub command: IndexCommand,
}

/// The commands of `index`.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Make a namespace, and the index if there is none
    ///
    /// With --dimensions the namespace takes vectors, and without it only texts.
    #[command(verbatim_doc_comment)]
    Create(CreateArgs),
    /// Add documents from lines of JSON, each in the place of one with its id
    ///
    /// A line is an object as in the corpus of a BEIR folder, with `_id`, `title`, `text` and
    /// `metadata`, and with a `vector` where it has one. With --model, documents without a vector are
    /// embedded; a namespace takes vectors of one model and adapter. A batch of lines is added as a
    /// whole; lines before one that is wrong stay added.
    #[command(verbatim_doc_comment)]
    Add(WriteArgs),
    /// Change documents that are there, from lines of JSON
    ///
    /// What a line does not have stays as it is: its text, all of its metadata, its vector. A text that
    /// changes loses its vector; with --model it is embedded.
    #[command(verbatim_doc_comment)]
    Update(WriteArgs),
    /// Embed all documents with another model or adapter, and search by its vectors from then on
    ///
    /// The new vectors come beside the old ones, which searches use until every document has a new
    /// one. What was interrupted is gone on with. With the model that is in use, documents without a
    /// vector get one.
    #[command(verbatim_doc_comment)]
    Embed {
        /// Which namespace.
        #[command(flatten)]
        place: PlaceArgs,
        /// What makes the vectors.
        #[command(flatten)]
        embed: EmbedArgs,
    },
    /// Delete documents by their ids
    Delete {
        /// Which namespace.
        #[command(flatten)]
        place: PlaceArgs,
        /// Ids of documents; unknown ones are counted as unchanged
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Drop a namespace with all that is in it
    Drop {
        /// Which namespace.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Find the documents that fit words or a vector best
    ///
    /// With --model or --vector it searches by vectors, with words by BM25, and with both it makes one
    /// answer of two by their ranks. Each document is shown with its place and score in both.
    ///
    /// A filter is a JSON object: {"year": {"gte": 2020}, "topic": {"in": ["ships", "canals"]}}, and
    /// {"and": [...]}, {"or": [...]}, {"not": {...}}.
    #[command(verbatim_doc_comment)]
    Search(IndexSearchArgs),
    /// Write the files anew without what was deleted
    Compact {
        /// Which namespace.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Show how large each namespace is
    Stats {
        /// The index's folder
        #[arg(value_name = "INDEX")]
        folder: PathBuf,
    },
    /// Read everything on disk and check every checksum
    ///
    /// Exit codes: 0 all is well, 1 something is damaged; the files are named.
    #[command(verbatim_doc_comment)]
    Verify {
        /// The index's folder
        #[arg(value_name = "INDEX")]
        folder: PathBuf,
    },
    /// Print every document as a line of JSON, as `add` reads it
    Export {
        /// Which namespace.
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// A namespace of an index.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The index's folder
    #[arg(value_name = "INDEX")]
    pub folder: PathBuf,
    /// The namespace
    #[arg(long, short, default_value = "main")]
    pub namespace: String,
}

/// Arguments of `index create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Values of a vector; without it, the namespace is for texts alone
    #[arg(long, value_name = "N")]
    pub dimensions: Option<usize>,
    /// A name for the vectors, such as that of the model which makes them
    #[arg(long, value_name = "NAME", default_value = "default", requires = "dimensions")]
    pub embedding: String,
    /// How alike two vectors are
    #[arg(long, value_enum, default_value = "cosine", requires = "dimensions")]
    pub metric: MetricArg,
    /// How a value is kept on disk
    #[arg(long, value_enum, default_value = "f32", requires = "dimensions")]
    pub storage: StorageArg,
    /// How vectors are searched; by their number if not given
    #[arg(long, value_enum, requires = "dimensions")]
    pub kind: Option<KindArg>,
}

/// Arguments of `index add` and `index update`.
#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Files with a JSON object on each line; - is stdin
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub embed: EmbedArgs,
}

/// What makes vectors of texts.
#[derive(Clone, Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Embed texts with this base model: a name, a folder or a hub id
    #[arg(long)]
    pub model: Option<String>,
    /// A PEFT folder of an adapter for it
    #[arg(long, value_name = "FOLDER", requires = "model")]
    pub adapter: Option<PathBuf>,
    /// What stands in front of each text, as some models want it
    #[arg(long, value_name = "TEXT", default_value = "", requires = "model")]
    pub prefix: String,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// Arguments of `index search`.
#[derive(Debug, Args)]
pub(crate) struct IndexSearchArgs {
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Words to search for
    #[arg(value_name = "WORDS", required_unless_present = "vector")]
    pub words: Option<String>,
    /// A vector to search for, as a JSON array
    #[arg(long, value_name = "JSON", conflicts_with = "model")]
    pub vector: Option<String>,
    /// Which retrievers are asked; both where both can be, if not given
    #[arg(long, value_enum)]
    pub mode: Option<ModeArg>,
    /// How many documents to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub top: u16,
    /// What the metadata must hold, as JSON
    #[arg(long, value_name = "JSON")]
    pub filter: Option<String>,
    #[command(flatten)]
    pub embed: EmbedArgs,
}

/// How alike two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricArg {
    /// the cosine of their angle
    Cosine,
    /// their inner product
    Dot,
}

/// How a value is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageArg {
    /// 4 bytes
    F32,
    /// 2 bytes, rounded
    Bf16,
}

/// How vectors are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// all are compared, as they are on disk
    ExactF32,
    /// all are compared, in memory in bf16
    ExactBf16,
    /// all are compared, in memory in 8 bits
    ExactInt8,
    /// all are compared by signs, the best again as they are on disk
    Codes,
    /// product-quantised vectors of near clusters
    IvfPq,
    /// a graph of neighbours
    Hnsw,
}

/// Which retrievers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// both, and their ranks make one answer
    Hybrid,
    /// vectors alone
    Dense,
    /// words alone
    Text,
}
