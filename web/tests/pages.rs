//! The shop window through its front door, with a made-up market behind it.

#[path = "support/fake_api.rs"]
mod fake_api;

use std::io::Read;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::request::Builder as RequestBuilder;
use axum::http::{HeaderMap, Request, StatusCode};
use fake_api::{Market, SESSION, TOKEN};
use http_body_util::BodyExt;
use protocol::api::{FileWarning, FileWarningKind};
use protocol::problem::InvalidField;
use protocol::{Problem, Status};
use serde_json::{Value, json};
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("text")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a plain header"))
    }
}

async fn ask(shop: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = shop.clone().oneshot(request).await.expect("a router never fails").into_parts();
    Answer { status: parts.status, headers: parts.headers, bytes: body.collect().await.expect("a whole body").to_bytes().to_vec() }
}

fn signed_in(method: &str, path: &str) -> RequestBuilder {
    Request::builder().method(method).uri(path).header("host", "localhost").header(COOKIE, format!("feira_session={SESSION}"))
}

async fn get(shop: &Router, path: &str) -> Answer {
    ask(shop, signed_in("GET", path).body(Body::empty()).expect("a request")).await
}

async fn visit(shop: &Router, path: &str) -> Answer {
    ask(shop, Request::builder().uri(path).header("host", "localhost").body(Body::empty()).expect("a request")).await
}

/// A form as a browser sends it: `(name, text)`, or `(name, file name, content)` for a file.
async fn post_form(shop: &Router, path: &str, texts: &[(&str, &str)], file: Option<(&str, &str, &str)>) -> Answer {
    let disposition = "--x\r\nContent-Disposition: form-data; name=";
    let mut parts: Vec<String> = texts.iter().map(|(name, text)| format!("{disposition}\"{name}\"\r\n\r\n{text}\r\n")).collect();
    if let Some((name, file_name, content)) = file {
        parts.push(format!("{disposition}\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: image/png\r\n\r\n{content}\r\n"));
    }
    let body = parts.concat() + "--x--\r\n";
    let request = signed_in("POST", path).header(CONTENT_TYPE, "multipart/form-data; boundary=x").header("sec-fetch-site", "same-origin");
    ask(shop, request.body(Body::from(body)).expect("a request")).await
}

const PAGES: [&str; 21] = [
    "/",
    "/explore?task=image&warm=1&sort=new",
    "/explore?q=up",
    "/feira",
    "/feira/upscale",
    "/feira/smol-chat",
    "/feira/upscale/api",
    "/feira/upscale/api?lang=http",
    "/feira/upscale/examples",
    "/feira/upscale/readme",
    "/feira/upscale/versions",
    "/p/01hf7yat00wjx3whax6rf4kq2p",
    "/p/01hf7yat00wjx3whax6rf4chat",
    "/p/01hf7yat00wjx3whax6rf4fail",
    "/p/01hf7yat00wjx3whax6rfqueue",
    "/p/01hf7yat00wjx3whax6rflive1",
    "/dashboard",
    "/signin",
    "/docs",
    "/docs/api",
    "/pricing",
];

#[tokio::test]
async fn every_page_opens_and_carries_the_policy() {
    let shop = Market::open().shop();
    for path in PAGES {
        let page = get(&shop, path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text().starts_with("<!DOCTYPE html>"), "{path}");
        assert_policy(&page, path);
    }
    for path in ["/nobody/nothing", "/assets/none.css", "/p/..%2Faccount", "/a/b/c/d"] {
        let page = get(&shop, path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert_policy(&page, path);
    }
}

fn assert_policy(page: &Answer, path: &str) {
    let policy = page.header("content-security-policy");
    for part in
        ["default-src 'none'", "script-src 'self';", "style-src 'self';", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{part} on {path}");
    }
    assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
    // What the policy would block must not be there in the first place.
    let text = String::from_utf8_lossy(&page.bytes);
    for marker in [" style=", " onclick=", "<style", "<script>"] {
        assert!(!text.contains(marker), "{marker} on {path}");
    }
}

#[tokio::test]
async fn the_window_shows_price_warmth_and_runs_of_each_stall() {
    let page = visit(&Market::open().shop(), "/").await.text();
    for part in
        ["$0.15 / M tokens", "$0.000021 / run", "$0.0001 / s", ">free<", "12.4K runs", "1 run<", "dot warm", "dot cold", "Fresh models"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test]
async fn the_versions_tab_names_tags_and_tells_where_latest_has_pointed() {
    let page = visit(&Market::open().shop(), "/feira/upscale/versions").await.text();
    for part in
        ["<span class=\"badge\">latest</span>", "<span class=\"badge\">stable</span>", "has pointed", "1 h ago", "<a href=\"/ada\">ada</a>"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let first = page.find("<code>000000000000</code>").expect("the version that latest pointed at before");
    assert!(page[..first].contains("<td class=\"num\">2</td>"), "the newest move stands first");
}

#[tokio::test]
async fn filters_and_search_narrow_the_market() {
    let shop = Market::open().shop();
    let images = visit(&shop, "/explore?task=image").await.text();
    assert!(images.contains("/feira/upscale") && !images.contains("/feira/embed\""));
    let warm = visit(&shop, "/explore?warm=1").await.text();
    assert!(warm.contains("/feira/upscale") && !warm.contains("/feira/embed\""));
    let found = visit(&shop, "/explore?q=embed").await.text();
    assert!(found.contains("1 stall for") && found.contains("/feira/embed"));
    assert!(visit(&shop, "/explore?q=zzz").await.text().contains("No stall sells"));
}

#[tokio::test]
async fn an_empty_market_says_how_to_open_a_stall() {
    let page = visit(&Market::default().shop(), "/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("push . you/your-model"));
}

#[tokio::test]
async fn a_model_page_is_small_on_the_wire() {
    let shop = Market::open().shop();
    let request = signed_in("GET", "/feira/every-kind").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let page = ask(&shop, request).await;
    assert_eq!(page.header("content-encoding"), "gzip");
    let mut html = String::new();
    flate2::read::GzDecoder::new(page.bytes.as_slice()).read_to_string(&mut html).unwrap();
    assert!(html.contains("One field of every kind"));
    assert!(page.bytes.len() < 15_000, "{} bytes", page.bytes.len());
}

#[tokio::test]
async fn assets_are_named_by_their_hash_and_kept_for_good() {
    let shop = Market::open().shop();
    let page = visit(&shop, "/").await.text();
    for (start, end, kind) in
        [("/assets/look.", ".css", "text/css"), ("/assets/live.", ".js", "text/javascript"), ("/assets/icon.", ".svg", "image/svg+xml")]
    {
        let at = page.find(start).unwrap();
        let path = &page[at..at + page[at..].find(end).unwrap() + end.len()];
        let asset = visit(&shop, path).await;
        assert_eq!(asset.status, StatusCode::OK, "{path}");
        assert!(asset.header("content-type").starts_with(kind) && asset.header("cache-control").contains("immutable"));
    }
}

#[tokio::test]
async fn a_cover_is_drawn_for_a_digest_and_for_nothing_else() {
    let shop = Market::open().shop();
    let id = "0".repeat(64);
    let cover = visit(&shop, &format!("/assets/cover/{id}.svg")).await;
    assert_eq!((cover.status, cover.header("content-type")), (StatusCode::OK, "image/svg+xml"));
    assert_eq!(visit(&shop, "/assets/cover/x.svg").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_becomes_a_prediction_with_the_types_of_the_schema() {
    let market = Market::open();
    let shop = market.shop();
    let texts = [
        ("version", ""),
        ("input.prompt", "a\r\nb"),
        ("input.image", ""),
        ("input.scale", "8"),
        ("input.strength", "0.25"),
        ("input.seed", ""),
        ("input.format", "webp"),
        ("input.denoise", "on"),
        ("input.key", "s3cret"),
        ("input.tags", r#"["x", "y"]"#),
        ("input.options", r#"{"a": 1}"#),
    ];
    let texts = &texts[1..];
    let answer = post_form(&shop, "/feira/every-kind", texts, Some(("file.image", "a %22b%22.png", "PNG"))).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(answer.header(LOCATION.as_str()), "/p/01hf7yat00wjx3whax6rf4kq2p");

    let upload = market.calls_of("/v1/files").pop().unwrap();
    assert_eq!(upload.body, json!({"name": "a %22b%22.png", "content_type": "image/png", "size": 3}));
    assert_eq!(upload.bearer, SESSION);

    let call = market.calls_of("/v1/predictions").pop().unwrap();
    assert_eq!(
        call.body["input"],
        json!({
            "prompt": "a\nb", "image": "http://localhost/v1/files/ZmlsZQ", "scale": 8, "strength": 0.25, "format": "webp", "denoise": true,
            "key": "s3cret", "tags": ["x", "y"], "options": {"a": 1}
        })
    );
    assert!(call.body["version"].as_str().unwrap().starts_with("feira/every-kind:"), "the form's own version runs");
    assert_eq!(call.source, "web");
}

#[tokio::test]
async fn a_refused_form_shows_each_error_beside_its_field_and_keeps_what_was_typed() {
    let fields = vec![
        InvalidField::new("required", "input", "prompt is required"),
        InvalidField::new("number_lte", "input.scale", "Must be less than or equal to 8"),
    ];
    let market = Market { refusal: Some(Problem::invalid("Input validation failed", fields)), ..Market::open() };
    let texts = [("input.scale", "9"), ("input.tags", "[\"kept\"]"), ("input.key", "s3cret")];
    let page = post_form(&market.shop(), "/feira/every-kind", &texts, None).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = page.text();
    assert!(text.contains(r#"id="f0-error" role="alert">prompt is required"#));
    assert!(text.contains(r#"id="f2-error" role="alert">Must be less than or equal to 8"#));
    assert!(text.contains(r#"value="9""#) && text.contains("[&quot;kept&quot;]"));
    assert!(!text.contains("s3cret"), "a secret does not come back");
    assert_policy(&page, "a refused form");
}

#[tokio::test]
async fn what_is_no_such_type_is_told_without_asking_the_api() {
    let market = Market::open();
    let page = post_form(&market.shop(), "/feira/every-kind", &[("input.seed", "many"), ("input.tags", "a, b")], None).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text().contains("This must be a whole number") && page.text().contains("This must be a JSON list"));
    assert!(market.calls_of("/v1/predictions").is_empty());
}

#[tokio::test]
async fn a_refused_file_is_told_beside_its_field_and_the_rest_of_the_form_is_kept() {
    let market = Market { refuses_files: true, ..Market::open() };
    let content = "x".repeat(1 << 20);
    let page = post_form(&market.shop(), "/feira/every-kind", &[("input.prompt", "kept")], Some(("file.image", "a.png", &content))).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = page.text();
    assert!(text.contains("f1-error") && text.contains("Files must be less than 100MB") && text.contains("kept"), "{text}");
    assert!(market.calls_of("/v1/predictions").is_empty());
}

#[tokio::test]
async fn a_refusal_of_the_router_itself_is_a_page_too() {
    let shop = Market::open().shop();
    let no_form = ask(&shop, signed_in("POST", "/feira/upscale").body(Body::from("x")).expect("a request")).await;
    assert_eq!(no_form.status, StatusCode::BAD_REQUEST);
    let no_method = get(&shop, "/signout").await;
    assert_eq!(no_method.status, StatusCode::METHOD_NOT_ALLOWED);
    for page in [no_form, no_method] {
        assert!(page.text().starts_with("<!DOCTYPE html>"), "{}", page.text());
    }
}

#[tokio::test]
async fn short_credit_is_told_in_words_and_the_form_is_kept() {
    let market = Market { refusal: Some(Problem::new(402, "Insufficient credit", "the hold needs $0.10")), ..Market::open() };
    let page = post_form(&market.shop(), "/feira/hello-world", &[("input.name", "Ada")], None).await;
    assert_eq!(page.status, StatusCode::PAYMENT_REQUIRED);
    assert!(page.text().contains("the hold needs $0.10") && page.text().contains("your balance") && page.text().contains(r#"value="Ada""#));
}

#[tokio::test]
async fn a_run_shows_its_output_bill_hooks_and_waterfall() {
    let shop = Market::open().shop();
    let chat = get(&shop, "/p/01hf7yat00wjx3whax6rf4chat").await.text();
    for part in
        ["The capital of France is Paris.", "$0.0000072", "41 tokens", "redact", "stream: filter", "before hook", "1.24 s", "/rerun"]
    {
        assert!(chat.contains(part), "{part}");
    }
    let picture = get(&shop, "/p/01hf7yat00wjx3whax6rf4kq2p").await.text();
    assert!(picture.contains(r#"<img src="/v1/files/out/download?owner=feira&amp;expiry=1&amp;signature=x""#), "{picture}");
    assert!(picture.contains("cold · setup") && picture.contains("enlarged 256×160") && !picture.contains(" 50%"));
    let failed = get(&shop, "/p/01hf7yat00wjx3whax6rf4fail").await.text();
    assert!(failed.contains("ValueError") && failed.contains("Nothing was charged"));
}

#[tokio::test]
async fn a_run_that_goes_on_is_followed_with_and_without_scripts() {
    let shop = Market::open().shop();
    let live = get(&shop, "/p/01hf7yat00wjx3whax6rflive1").await.text();
    assert!(live.contains(r#"data-live="/v1/streams/signed.token""#), "the stream is read on this host");
    assert!(live.contains(r#"<noscript><meta http-equiv="refresh" content="2">"#));
    assert!(live.contains("Markets are") && live.contains("/cancel") && live.contains("costs about"));
    let queued = get(&shop, "/p/01hf7yat00wjx3whax6rfqueue").await.text();
    assert!(queued.contains("queued, 2 ahead") && queued.contains("starts in about 12 s"));
}

#[tokio::test]
async fn a_run_is_canceled_and_run_again_by_form() {
    let market = Market::open();
    let shop = market.shop();
    let post = |path: &str| signed_in("POST", path).header("sec-fetch-site", "same-origin").body(Body::empty()).unwrap();
    let canceled = ask(&shop, post("/p/01hf7yat00wjx3whax6rflive1/cancel")).await;
    assert_eq!((canceled.status, canceled.header("location")), (StatusCode::SEE_OTHER, "/p/01hf7yat00wjx3whax6rflive1"));
    assert_eq!(market.calls_of("/v1/predictions/cancel").len(), 1);
    let again = ask(&shop, post("/p/01hf7yat00wjx3whax6rf4chat/rerun")).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER);
    let call = market.calls_of("/v1/predictions").pop().unwrap();
    assert_eq!(call.body["input"]["prompt"], "What is the capital of France?");
}

#[tokio::test]
async fn an_earlier_run_fills_the_form() {
    let page = get(&Market::open().shop(), "/feira/smol-chat?from=01hf7yat00wjx3whax6rflive1").await.text();
    assert!(page.contains("Tell me about markets."));
}

#[tokio::test]
async fn a_token_becomes_a_session_cookie_that_scripts_cannot_read() {
    let shop = Market::open().shop();
    let form = |token: &str, next: &str| {
        let request = Request::builder().method("POST").uri("/signin").header("host", "localhost");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header("origin", "http://localhost");
        request.body(Body::from(format!("token={token}&next={next}"))).unwrap()
    };
    let inside = ask(&shop, form(TOKEN, "/dashboard")).await;
    assert_eq!((inside.status, inside.header("location")), (StatusCode::SEE_OTHER, "/dashboard"));
    let cookie = inside.header(SET_COOKIE.as_str());
    assert_eq!(cookie, format!("feira_session={SESSION}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"));

    assert_eq!(ask(&shop, form(TOKEN, "https://evil.example/")).await.header("location"), "/");
    assert_eq!(ask(&shop, form(TOKEN, "//evil.example/")).await.header("location"), "/");
    let wrong = ask(&shop, form("fe_wrong", "/")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("No account knows this token"));
    assert!(get(&shop, "/").await.text().contains(">ada<"));
}

#[tokio::test]
async fn the_printed_link_signs_in_but_another_sites_link_does_not() {
    let shop = Market::open().shop();
    let link = |site: &str| {
        let request = Request::builder().uri(format!("/signin?token={TOKEN}")).header("host", "localhost").header("sec-fetch-site", site);
        request.body(Body::empty()).unwrap()
    };
    let typed = ask(&shop, link("none")).await;
    assert_eq!((typed.status, typed.header("location")), (StatusCode::SEE_OTHER, "/"));
    let lured = ask(&shop, link("cross-site")).await;
    assert_eq!(lured.status, StatusCode::OK);
    assert_eq!(lured.header(SET_COOKIE.as_str()), "");
}

#[tokio::test]
async fn a_session_that_ended_makes_a_visitor() {
    let shop = Market::open().shop();
    let request = Request::builder().uri("/feira/upscale").header(COOKIE, "feira_session=old").body(Body::empty()).unwrap();
    let page = ask(&shop, request).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("Sign in to run"));
    assert_eq!(visit(&shop, "/dashboard").await.header("location"), "/signin?next=/dashboard");
}

#[tokio::test]
async fn a_form_of_another_site_is_refused() {
    let market = Market::open();
    let shop = market.shop();
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
        for path in ["/p/01hf7yat00wjx3whax6rflive1/cancel", "/signout", "/feira/upscale", "/signin"] {
            let answer = ask(&shop, signed_in("POST", path).header(name, value).body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value} to {path}");
            assert!(answer.text().contains("another site"));
        }
    }
    assert!(market.calls_of("/v1/predictions/cancel").is_empty());
}

#[tokio::test]
async fn reserved_words_are_never_taken_for_owners() {
    let shop = Market::open().shop();
    for path in ["/v1/anything", "/v2/x", "/openai/v1", "/runner/x", "/docs/x", "/dashboard/x", "/metrics", "/livez", "/v1", "/assets"] {
        assert_eq!(get(&shop, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_api_stays_silent_to_visitors_about_what_is_not_theirs() {
    let page = visit(&Market::open().shop(), "/p/00000000000000000000000000").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text().contains("not signed in to"));
}

/// Text that would run if any page wrote it unescaped.
fn pickle(path: &str, imports: &[&str]) -> FileWarning {
    let imports = imports.iter().map(|name| (*name).to_owned()).collect();
    FileWarning { path: path.to_owned(), kind: FileWarningKind::Pickle, detail: path.to_owned(), imports }
}

#[tokio::test]
async fn a_model_whose_weights_are_pickles_says_so_before_it_is_run() {
    let mut model = fake_api::stall("pickled", "language", "It has been pickled.", fake_api::schema(&json!({}), &json!({})));
    model.latest_version.as_mut().expect("it has one").warnings = vec![pickle("weights/a.pt", &["os.system", "torch.FloatStorage"])];
    let shop = Market { models: vec![model], ..Market::default() }.shop();
    let page = visit(&shop, "/feira/pickled").await.text();
    for told in ["one file is a pickle", "weights/a.pt", "<code>os.system</code>, <code>torch.FloatStorage</code>"] {
        assert!(page.contains(told), "{told}");
    }
    let shop = Market::default().shop();
    assert!(!visit(&shop, "/feira/hello-world").await.text().contains("caution"));
}

const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "</pre></textarea></title><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}<iframe srcdoc='<script>alert(1)</script>'>",
];

#[tokio::test]
async fn hostile_names_schemas_readmes_outputs_and_logs_never_become_markup() {
    for evil in HOSTILE {
        let schema = fake_api::schema(
            &json!({"properties": {evil: {"type": "string", "title": evil, "description": evil, "default": evil}, "pick": {"enum": [evil]}}}),
            &json!({"type": "string"}),
        );
        let mut model = fake_api::stall("evil", evil, evil, schema);
        model.github_url = Some(evil.to_owned());
        model.cover_image_url = Some(evil.to_owned());
        model.hardware = evil.to_owned();
        model.latest_version.as_mut().expect("it has one").warnings = vec![pickle(evil, &[evil])];
        let mut run = fake_api::run("evil1", "evil", Status::Succeeded);
        run.input = json!({evil: evil});
        run.output = json!({evil: [evil]});
        run.logs = evil.to_owned();
        run.region = evil.to_owned();
        run.metrics.insert(evil.to_owned(), Value::from(evil));
        let mut text_run = fake_api::run("evil2", "evil", Status::Failed);
        text_run.output = Value::from(evil);
        text_run.error = Some(evil.to_owned());
        text_run.error_code = Some(evil.to_owned());
        model.default_example = Some(Box::new(run.clone()));
        let market = Market { models: vec![model], predictions: vec![run, text_run], readme: evil.to_owned(), ..Market::default() };
        let shop = market.shop();
        for path in [
            "/",
            "/feira",
            "/feira/evil",
            "/feira/evil/api",
            "/feira/evil/examples",
            "/feira/evil/readme",
            "/feira/evil/versions",
            "/p/evil1",
            "/p/evil2",
            "/dashboard",
        ] {
            let page = get(&shop, path).await;
            assert_eq!(page.status, StatusCode::OK, "{path} with {evil}");
            let text = page.text();
            let markup = ["<script>", "<img src=x", "<svg onload", "<iframe", "onerror=alert(1)>"];
            for marker in markup.into_iter().chain(["href=\"javascript", "src=\"javascript", "action=\"javascript"]) {
                assert!(!text.contains(marker), "{marker} on {path} with {evil}");
            }
        }
    }
}

#[tokio::test]
async fn a_model_page_tells_who_signed_its_latest_version() {
    let page = get(&Market::open().shop(), "/feira/hello-world").await.text();
    let key = |signer: &str| protocol::Digest::of(signer.as_bytes()).hex()[..12].to_owned();
    assert!(page.contains(&format!("signed by its publisher (key {})", key("publisher"))));
    assert!(page.contains(&format!("signed by the operator (key {}, revoked)", key("operator"))));
}
