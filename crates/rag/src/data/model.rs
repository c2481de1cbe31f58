//! What every reader produces: one tenant's texts, training examples and held-out judgements.

/// One tenant's data. All ids below are positions in `documents` and `queries`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// What people call it; by default the name of its folder or file.
    pub name: String,
    /// Everything that is searched, in a fixed order.
    pub documents: Vec<Document>,
    /// Every query of every split, in a fixed order.
    pub queries: Vec<Query>,
    /// What is learned from; shares no query with `dev` and `test`.
    pub train: Vec<Example>,
    /// What was judged of the queries that are learned from, by position in `queries`: documents
    /// and their gains. A pair that is not here has gain 1.
    pub train_gains: Vec<Vec<(u32, u32)>>,
    /// Held out from training, for choosing (early stop, settings).
    pub dev: Judgements,
    /// Held out from training and from choosing, for reporting.
    pub test: Judgements,
    /// Whether a document with a query's own id is no answer to it, as in BEIR folders, whose ids
    /// people gave. Made-up ids say nothing, so for other data this is false.
    pub leaves_out_own_id: bool,
}

/// A text that can be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The id that its file gives it, or its place (`guide/tests.html#layout`); unique.
    pub id: String,
    /// A title that is part of what is searched; may be empty.
    pub title: String,
    /// The text itself.
    pub text: String,
    /// Where a passage stands, for people (`Page: Section`); never part of what is searched.
    pub heading: String,
}

/// A text that somebody searches with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The id that its file gives it; unique.
    pub id: String,
    /// The text itself.
    pub text: String,
}

/// One thing to learn from.
#[derive(Clone, Debug, PartialEq)]
pub enum Example {
    /// The query should find the positive, and rather than any of the negatives.
    Pair {
        /// Position in `queries`.
        query: u32,
        /// Position in `documents`.
        positive: u32,
        /// Positions in `documents`; may be empty.
        negatives: Vec<u32>,
    },
    /// The two texts should be as similar as the score says, compared with other pairs.
    Scored {
        /// Position in `queries`.
        left: u32,
        /// Position in `documents`.
        right: u32,
        /// Any scale, higher is more similar.
        score: f32,
    },
}

impl Example {
    /// The position in `queries` of the example's query or left text.
    pub fn query(&self) -> u32 {
        match self {
            Example::Pair { query, .. } => *query,
            Example::Scored { left, .. } => *left,
        }
    }
}

/// Which documents answer which queries of one split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgements {
    /// One entry a query, ordered by query.
    pub queries: Vec<Judged>,
}

/// What is known about one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Position in `queries`.
    pub query: u32,
    /// Relevant documents and their gain (1 or more), ordered by document; never empty.
    pub gains: Vec<(u32, u32)>,
}

impl Dataset {
    /// Number of texts of the table that a trainer sees: the queries, then the documents.
    pub fn texts(&self) -> u32 {
        (self.queries.len() + self.documents.len()) as u32
    }

    /// The row of a query in that table.
    pub fn query_text(&self, query: u32) -> u32 {
        query
    }

    /// The row of a document in that table.
    pub fn document_text(&self, document: u32) -> u32 {
        self.queries.len() as u32 + document
    }

    /// The documents that training knows to be relevant to each query, by position in `queries`
    /// and ordered by document: what must not be taken for a negative.
    pub fn train_positives(&self) -> Vec<Vec<u32>> {
        let mut positives = vec![Vec::new(); self.queries.len()];
        for example in &self.train {
            match example {
                Example::Pair { query, positive, .. } => positives[*query as usize].push(*positive),
                Example::Scored { left, right, .. } => positives[*left as usize].push(*right),
            }
        }
        for documents in &mut positives {
            documents.sort_unstable();
            documents.dedup();
        }
        positives
    }
}

impl Document {
    /// What is searched and trained: title and text with one space between, trimmed.
    pub fn search_text(&self) -> String {
        format!("{} {}", self.title, self.text).trim().to_owned()
    }

    /// What a person knows it by: its heading, its title, or how its text begins.
    pub fn label(&self) -> String {
        const CHARACTERS_MAX: usize = 80;
        let named = [&self.heading, &self.title].into_iter().find(|name| !name.is_empty());
        let label = named.unwrap_or(&self.text);
        match label.char_indices().nth(CHARACTERS_MAX) {
            Some((cut, _)) => format!("{}…", label[..cut].trim_end()),
            None => label.clone(),
        }
    }
}

impl Judgements {
    /// Number of judged queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}
