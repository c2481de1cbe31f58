//! The contract as OpenAPI 3.1, put together from the routes and the wire types.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::request::{JobRequest, LoadRequest, NodeRequest, ResizeRequest, TenantRequest};
use crate::route::{Access, Method, Parameter, Route};
use crate::view::{
    CardPage, ExplainView, JobPage, JobView, NodeList, NodeView, PoolView, Problem, TenantList,
    TenantView, TokenView,
};

/// What goes over the wire as a body.
enum Body {
    Nothing,
    Json(Value),
    Text(&'static str),
}

/// The whole document.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in Route::ALL {
        let method = match route.method() {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
        };
        let path = paths.entry(route.path()).or_insert_with(|| json!({}));
        path[method] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cotenant",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A pool of cards that jobs share by slices.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{}, { "token": [] }],
    })
}

fn operation(route: Route, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = path_parameters(route.path());
    parameters.extend(route.parameters().iter().map(query_parameter));
    if route == Route::SubmitJob {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "at most 128 visible ASCII characters",
            "schema": { "type": "string" },
        }));
    }
    let mut responses = Map::new();
    let (code, about) = match route {
        Route::SubmitJob | Route::CreateToken => ("201", "made"),
        Route::ReportLoad => ("204", "taken in"),
        Route::Shutdown => ("202", "it will be done"),
        _ => ("200", "done"),
    };
    responses.insert(code.into(), with_content(about, answer(route, schemas)));
    for (code, about) in failures(route) {
        let problem = Body::Json(schemas.subschema_for::<Problem>().to_value());
        responses.insert(code.into(), with_content(about, problem));
    }
    let mut operation = json!({
        "operationId": format!("{route:?}"),
        "summary": route.about(),
        "parameters": parameters,
        "responses": responses,
    });
    if let Body::Json(schema) = question(route, schemas) {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn question(route: Route, schemas: &mut SchemaGenerator) -> Body {
    match route {
        Route::SubmitJob => Body::Json(schemas.subschema_for::<JobRequest>().to_value()),
        Route::ResizeJob => Body::Json(schemas.subschema_for::<ResizeRequest>().to_value()),
        Route::ReportLoad => Body::Json(schemas.subschema_for::<LoadRequest>().to_value()),
        Route::PutNode => Body::Json(schemas.subschema_for::<NodeRequest>().to_value()),
        Route::PutTenant => Body::Json(schemas.subschema_for::<TenantRequest>().to_value()),
        _ => Body::Nothing,
    }
}

fn answer(route: Route, schemas: &mut SchemaGenerator) -> Body {
    let schema = match route {
        Route::Pool => schemas.subschema_for::<PoolView>(),
        Route::ListCards => schemas.subschema_for::<CardPage>(),
        Route::ListJobs => schemas.subschema_for::<JobPage>(),
        Route::SubmitJob | Route::ShowJob | Route::CancelJob | Route::ResizeJob => {
            schemas.subschema_for::<JobView>()
        }
        Route::ExplainJob => schemas.subschema_for::<ExplainView>(),
        Route::ListNodes => schemas.subschema_for::<NodeList>(),
        Route::PutNode => schemas.subschema_for::<NodeView>(),
        Route::ListTenants => schemas.subschema_for::<TenantList>(),
        Route::PutTenant => schemas.subschema_for::<TenantView>(),
        Route::CreateToken => schemas.subschema_for::<TokenView>(),
        Route::OpenApi => return Body::Json(json!({ "type": "object" })),
        Route::ReadLog | Route::Metrics => return Body::Text("text/plain"),
        Route::Events => return Body::Text("text/event-stream"),
        Route::ReportLoad | Route::Shutdown => return Body::Nothing,
    };
    Body::Json(schema.to_value())
}

/// The errors that a route may answer with.
fn failures(route: Route) -> Vec<(&'static str, &'static str)> {
    let mut failures = vec![
        ("400", "a value is not what it must be"),
        ("401", "the pool wants a token"),
        ("503", "the daemon is ending, or cannot store anything now"),
    ];
    if route.access() == Access::Operator {
        failures.push(("403", "only the operator may do this"));
    }
    if route == Route::SubmitJob {
        failures.push(("403", "the token is another tenant's"));
    }
    if route.path().contains('{') {
        failures.push(("404", "there is no such thing, or it is another tenant's"));
    }
    if matches!(route, Route::SubmitJob | Route::ResizeJob | Route::ReportLoad) {
        failures.push(("409", "it cannot be done as things stand"));
    }
    if route.method() != Method::Get {
        failures.push(("413", "the body is too large"));
        failures.push(("415", "the body is not JSON"));
        failures.push(("422", "the body is JSON, but says nothing that can be done"));
    }
    if route == Route::SubmitJob {
        failures.push(("429", "too many jobs wait already"));
    }
    failures
}

fn with_content(about: &str, body: Body) -> Value {
    let mut response = json!({ "description": about });
    match body {
        Body::Nothing => {}
        Body::Json(schema) => {
            response["content"] = json!({ "application/json": { "schema": schema } });
        }
        Body::Text(kind) => {
            response["content"] = json!({ kind: { "schema": { "type": "string" } } });
        }
    }
    response
}

fn path_parameters(path: &str) -> Vec<Value> {
    let ids = [("{id}", "id", "integer"), ("{name}", "name", "string")];
    let present = ids.iter().filter(|(mark, ..)| path.contains(mark));
    let schema = |kind: &str| match kind {
        "integer" => json!({ "type": "integer", "minimum": 1 }),
        kind => json!({ "type": kind }),
    };
    let parameter = |&(_, name, kind): &(&str, &str, &str)| json!({ "name": name, "in": "path", "required": true, "schema": schema(kind) });
    present.map(parameter).collect()
}

fn query_parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name, "in": "query", "required": false,
        "description": parameter.about, "schema": { "type": parameter.kind },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_there_once() {
        let document = openapi();
        let mut ids = BTreeSet::new();
        for path in document["paths"].as_object().unwrap().values() {
            for operation in path.as_object().unwrap().values() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            }
        }
        assert_eq!(ids.len(), Route::ALL.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let mut count = 0;
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} is not there");
            count += 1;
        }
        assert!(count > 10, "{count}");
    }
}
