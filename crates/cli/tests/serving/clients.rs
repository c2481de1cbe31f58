//! Programs of others against the server, unchanged: the `openai` client and LangChain's class.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::process::Command;

use super::server::{Server, place_with};

const SCRIPT: &str = r#"
import struct
import sys
from openai import OpenAI, NotFoundError
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
print([model.id for model in client.models.list()])
plain = client.embeddings.create(model="law", input=["badol cebar", "cebar"], encoding_format="float")
coded = client.embeddings.create(model="law", input=["badol cebar", "cebar"])
# Decimals have the digits of an f32, and are read as f64.
as_f32 = lambda answer: [struct.pack(f"{len(d.embedding)}f", *d.embedding) for d in answer.data]
assert as_f32(coded) == as_f32(plain), "base64 and float"
assert plain.usage.prompt_tokens == 7, plain.usage
assert len(client.embeddings.create(model="law", input="badol", dimensions=8).data[0].embedding) == 8
try:
    client.embeddings.create(model="nobody", input="badol")
    raise SystemExit("an unknown model was served")
except NotFoundError as error:
    assert error.body["code"] == "not_found", error.body
"#;

const LANGCHAIN: &str = r#"
import sys
from langchain_openai import OpenAIEmbeddings
made = OpenAIEmbeddings(base_url=sys.argv[1] + "/v1", api_key="none", model="law",
                        check_embedding_ctx_length=False)
vectors = made.embed_documents(["badol cebar", "cebar"])
assert len(vectors) == 2 and len(vectors[0]) == 32
query = made.embed_query("badol cebar")
assert max(abs(a - b) for a, b in zip(query, vectors[0])) < 1e-6
"#;

/// Runs a script with the Python that has the clients: `COTENANT_CLIENTS_PYTHON`, else `python3`.
fn check(package: &str, script: &str) {
    let python = std::env::var("COTENANT_CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", &format!("import {package}")]).output();
    if !import.is_ok_and(|import| import.status.success()) {
        eprintln!(
            "skipped: {python} has no {package}; name one that has by COTENANT_CLIENTS_PYTHON"
        );
        return;
    }
    let server = Server::start(place_with(&["law"]), &["--adapters", "adapters"]);
    let ran = Command::new(&python).args(["-c", script, &server.address]).output().unwrap();
    assert!(ran.status.success(), "{package}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_openai_client_works_unchanged() {
    check("openai", SCRIPT);
}

#[test]
fn langchain_embeddings_work_unchanged() {
    check("langchain_openai", LANGCHAIN);
}
