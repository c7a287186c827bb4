//! The `OpenAPI` document of a version, in the shape that Cog gives it and Replicate's clients read.

use serde_json::{Map, Value, json};

use super::predictor::{Door, Signature};

/// Makes the document; an `Err` says which names collide.
pub fn document(signature: Signature) -> Result<Value, String> {
    let mut schemas = fixed_schemas();
    let mut paths = fixed_paths();
    add_door(&PREDICT, signature.predict, &mut schemas, &mut paths)?;
    if let Some(train) = signature.train {
        add_door(&TRAIN, train, &mut schemas, &mut paths)?;
    }
    Ok(json!({
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

/// What the two doors of a model are called.
struct Names {
    path: &'static str,
    id: &'static str,
    verb: &'static str,
    noun: &'static str,
    input: &'static str,
    output: &'static str,
    request: &'static str,
    response: &'static str,
}

const PREDICT: Names = Names {
    path: "/predictions",
    id: "prediction_id",
    verb: "predict",
    noun: "prediction",
    input: "Input",
    output: "Output",
    request: "PredictionRequest",
    response: "PredictionResponse",
};

const TRAIN: Names = Names {
    path: "/trainings",
    id: "training_id",
    verb: "train",
    noun: "training",
    input: "TrainingInput",
    output: "TrainingOutput",
    request: "TrainingRequest",
    response: "TrainingResponse",
};

fn add_door(names: &Names, door: Door, schemas: &mut Map<String, Value>, paths: &mut Map<String, Value>) -> Result<(), String> {
    let mut input = door.input;
    input["title"] = names.input.into();
    let own = [(names.input, input), (names.output, door.output), (names.request, request(names)), (names.response, response(names))];
    let own = own.into_iter().map(|(name, schema)| (name.to_owned(), schema));
    for (name, schema) in own.chain(door.enums) {
        if schemas.get(&name).is_some_and(|known| *known != schema) {
            return Err(format!("an input with choices cannot be called `{name}`: that schema is taken"));
        }
        schemas.insert(name, schema);
    }
    let Names { path, id, verb, noun, .. } = names;
    let title = capitalised(verb);
    let mut post = json!({
        "summary": title,
        "description": format!("Run a single {noun} on the model"),
        "operationId": format!("{verb}_{noun}s_post"),
        "requestBody": {"content": {"application/json": {"schema": reference(names.request)}}},
        "responses": responses(&reference(names.response)),
        // Server-sent events work for every predictor, and are the only answer that keeps the logs of a failure.
        "x-cog-streaming": true,
    });
    if *path == TRAIN.path {
        post.as_object_mut().expect("the operation is an object").remove("x-cog-streaming");
    }
    let cancel = json!({
        "summary": "Cancel",
        "operationId": format!("cancel_{noun}s__{id}__cancel_post"),
        "parameters": [{"required": true, "schema": {"title": title_case(id), "type": "string"}, "name": id, "in": "path"}],
        "responses": responses(&json!({})),
    });
    paths.insert((*path).to_owned(), json!({"post": post}));
    paths.insert(format!("{path}/{{{id}}}/cancel"), json!({"post": cancel}));
    Ok(())
}

fn request(names: &Names) -> Value {
    json!({
        "title": names.request,
        "type": "object",
        "properties": {"id": {"title": "Id", "type": "string"}, "input": reference(names.input)},
    })
}

fn response(names: &Names) -> Value {
    let moment = |title: &str| json!({"title": title, "type": "string", "format": "date-time"});
    json!({
        "title": names.response,
        "type": "object",
        "properties": {
            "input": reference(names.input),
            "output": reference(names.output),
            "id": {"title": "Id", "type": "string"},
            "version": {"title": "Version", "type": "string"},
            "created_at": moment("Created At"),
            "started_at": moment("Started At"),
            "completed_at": moment("Completed At"),
            "status": {"title": "Status", "type": "string"},
            "error": {"title": "Error", "type": "string"},
            "logs": {"title": "Logs", "type": "string"},
            "metrics": {"title": "Metrics", "type": "object"},
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn responses(schema: &Value) -> Value {
    let content = |schema: &Value| json!({"application/json": {"schema": schema}});
    json!({
        "200": {"description": "Successful Response", "content": content(schema)},
        "422": {"description": "Validation Error", "content": content(&reference("HTTPValidationError"))},
    })
}

fn fixed_paths() -> Map<String, Value> {
    let answer = json!({"200": {"description": "Successful Response", "content": {"application/json": {"schema": {}}}}});
    let get = |summary: &str, id: &str| json!({"get": {"summary": summary, "operationId": id, "responses": answer}});
    Map::from_iter([
        ("/".to_owned(), get("Root", "root__get")),
        ("/health-check".to_owned(), get("Healthcheck", "healthcheck_health_check_get")),
    ])
}

fn fixed_schemas() -> Map<String, Value> {
    let status = json!({
        "title": "Status",
        "description": "An enumeration.",
        "enum": ["starting", "processing", "succeeded", "canceled", "failed"],
        "type": "string",
    });
    let errors = json!({
        "title": "HTTPValidationError",
        "type": "object",
        "properties": {"detail": {"title": "Detail", "type": "array", "items": reference("ValidationError")}},
    });
    let error = json!({
        "title": "ValidationError",
        "required": ["loc", "msg", "type"],
        "type": "object",
        "properties": {
            "loc": {"title": "Location", "type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
            "msg": {"title": "Message", "type": "string"},
            "type": {"title": "Error Type", "type": "string"},
        },
    });
    Map::from_iter([("Status".to_owned(), status), ("HTTPValidationError".to_owned(), errors), ("ValidationError".to_owned(), error)])
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn title_case(name: &str) -> String {
    name.split('_').map(capitalised).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(enums: &Value) -> Door {
        serde_json::from_value(json!({"input": {"type": "object", "properties": {}}, "output": {"type": "string"}, "enums": enums}))
            .unwrap()
    }

    #[test]
    fn a_document_has_what_clients_and_cogs_own_server_look_for() {
        let made = document(Signature { predict: door(&json!({})), train: Some(door(&json!({}))) }).unwrap();
        assert_eq!(made["components"]["schemas"]["Input"]["title"], "Input");
        assert_eq!(made["components"]["schemas"]["TrainingInput"]["title"], "TrainingInput");
        assert_eq!(made["paths"]["/predictions"]["post"]["operationId"], "predict_predictions_post");
        assert_eq!(made["paths"]["/predictions"]["post"]["x-cog-streaming"], true);
        assert_eq!(made["paths"]["/trainings"]["post"]["operationId"], "train_trainings_post");
        let cancel = &made["paths"]["/predictions/{prediction_id}/cancel"]["post"];
        assert_eq!(cancel["operationId"], "cancel_predictions__prediction_id__cancel_post");
        assert_eq!(cancel["parameters"][0]["schema"]["title"], "Prediction Id");
    }

    #[test]
    fn an_input_cannot_take_the_place_of_a_schema() {
        let taken = document(Signature { predict: door(&json!({"Output": {"enum": [1]}})), train: None });
        assert_eq!(taken, Err("an input with choices cannot be called `Output`: that schema is taken".to_owned()));
    }
}
