//! Who may see and do what, asked of a real daemon.

use std::io::Read;

use cotenant_api::{
    Client, ClientError, JobFilter, JobRequest, JobState, LoadRequest, NodeRequest, TenantRequest,
};

use crate::daemon::Daemon;

pub(crate) fn status<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(ClientError::Refused { status, .. }) => status,
        Err(error) => panic!("no answer of the pool: {error}"),
    }
}

fn job() -> JobRequest {
    JobRequest {
        command: ["sh", "-c", "echo hidden words"].map(str::to_owned).to_vec(),
        memory: Some("1%".to_owned()),
        compute: Some("5%".to_owned()),
        env: [("SECRET".to_owned(), "swordfish".to_owned())].into(),
        ..JobRequest::default()
    }
}

#[test]
fn a_tenant_sees_and_touches_its_own_alone() {
    let daemon = Daemon::start("cpu");
    let open = daemon.client();
    for tenant in ["law", "code"] {
        open.put_tenant(tenant, &TenantRequest::default()).unwrap();
    }
    let token = |name: &str, by: &Client| by.create_token(name).unwrap().token;
    let operator = Client::new(&daemon.address(), Some(token("operator", &open)));
    assert_eq!(status(open.pool()), 401, "from the first operator token on, all need one");
    let wrong = Client::new(&daemon.address(), Some("cot_0".to_owned()));
    assert_eq!(status(wrong.pool()), 401);
    let law = Client::new(&daemon.address(), Some(token("law", &operator)));
    let code = Client::new(&daemon.address(), Some(token("code", &operator)));

    let made = law.submit(&job(), None).unwrap();
    let id = made.row.id;
    assert_eq!(made.row.tenant, "law");
    assert!(!format!("{made:?}").contains("swordfish"), "a secret is shown");
    while law.job(id).unwrap().row.state != JobState::Ended {
        std::thread::yield_now();
    }
    assert_eq!(law.log(id, ("stdout", 0), 0).unwrap().bytes, b"hidden words\n");

    let load = LoadRequest { latency_ms: Some(1), usage: None };
    assert_eq!(status(code.job(id)), 404);
    assert_eq!(status(code.explain(id)), 404);
    assert_eq!(status(code.cancel(id)), 404);
    assert_eq!(status(code.report_load(id, &load)), 404);
    assert_eq!(status(code.log(id, ("stdout", 0), 0)), 404);
    assert_eq!(code.jobs(&JobFilter::default()).unwrap().total, 0);
    let other = JobFilter { tenant: Some("law".to_owned()), ..JobFilter::default() };
    assert_eq!(code.jobs(&other).unwrap().total, 0, "a filter shows no more");
    assert_eq!(code.tenants().unwrap().tenants.len(), 1);
    assert!(code.pool().unwrap().jobs.is_empty());
    let for_law = JobRequest { tenant: Some("law".to_owned()), ..job() };
    assert_eq!(status(code.submit(&for_law, None)), 403);
    assert_eq!(status(code.put_tenant("code", &TenantRequest::default())), 403);
    assert_eq!(status(code.create_token("law")), 403);
    assert_eq!(status(code.put_node("cpu", &NodeRequest { draining: true })), 403);
    assert_eq!(status(code.shutdown()), 403);
    assert_eq!(operator.jobs(&JobFilter::default()).unwrap().total, 1);

    let old = law;
    let law = Client::new(&daemon.address(), Some(token("law", &operator)));
    assert_eq!(status(old.pool()), 401, "a new token ends the old");
    assert_eq!(status(law.pool()), 200);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let daemon = Daemon::start("sim:1xH100");
    let address = daemon.address();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let check = |body: &str, headers: &[(&str, &str)], expected: u16, part: &str| {
        let request = agent.post(format!("{address}/v1/jobs"));
        let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        let mut answer = request.send(body).unwrap();
        let mut text = String::new();
        answer.body_mut().as_reader().take(1 << 16).read_to_string(&mut text).unwrap();
        let shown: String = body.chars().take(60).collect();
        assert_eq!(answer.status().as_u16(), expected, "{shown} gave {text}");
        assert!(text.contains(part), "{shown} gave {text}");
    };
    let json = ("content-type", "application/json");
    check("{", &[json], 400, "not JSON");
    check("[]", &[json], 422, "a list");
    check("{\"comand\":[\"true\"]}", &[json], 422, "unknown field");
    check("{\"command\":[\"true\"]}", &[("content-type", "text/plain")], 415, "not-json");
    let large = format!("{{\"command\":[\"{}\"]}}", "x".repeat(2 << 20));
    let request = agent.post(format!("{address}/v1/jobs")).header(json.0, json.1);
    match request.send(large) {
        Ok(answer) => assert_eq!(answer.status().as_u16(), 413),
        // The answer may come, and the connection go, before all was sent.
        Err(ureq::Error::Io(error)) => eprintln!("a large body was cut off: {error}"),
        Err(error) => panic!("a large body gave {error}"),
    }
    check("{\"command\":[\"true\"],\"cards\":9999}", &[json], 422, "cards: ");
    check("{\"command\":[\"true\"],\"tenant\":\"nobody\"}", &[json], 422, "no tenant nobody");
    let key = ("idempotency-key", "has spaces in it");
    check("{\"command\":[\"true\"]}", &[json, key], 400, "Idempotency-Key");
    let origin = ("origin", "https://evil.example");
    check("{\"command\":[\"true\"]}", &[json, origin], 403, "another site");
    let host = ("host", "evil.example");
    check("{\"command\":[\"true\"]}", &[json, host], 403, "no name of this machine");
    check("{\"command\":[\"true\"]}", &[json], 201, "queued");
}
