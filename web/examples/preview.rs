//! The shop window with a small made-up market behind it, to look at while working on pages: `cargo run -p web --example preview`.

#[path = "../tests/support/fake_api.rs"]
mod fake_api;

use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use futures::StreamExt;

const TALE: &str = "A market is older than money. People came to the crossroads with what they had, and went home with what they needed.\n\n\
                    The awnings came later, and the price tags later still.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let market = fake_api::Market::open();
    // A stream that never ends: the running prediction stays as it is.
    let stream = get(|| async {
        let words = TALE.split_inclusive(' ').map(|word| format!("event: output\ndata: {}\n\n", word.replace('\n', "\ndata: ")));
        let tale = futures::stream::iter(words.collect::<Vec<_>>()).map(Ok::<_, std::convert::Infallible>);
        let paced = tale.then(|word| async {
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            word
        });
        ([(CONTENT_TYPE, "text/event-stream")], axum::body::Body::from_stream(paced.chain(futures::stream::pending())))
    });
    // What the last forms became.
    let asked = market.clone();
    let calls = get(move || async move { axum::Json(asked.calls_of("/v1/predictions")) });
    let app = market.clone().routes().route("/v1/streams/{token}", stream).route("/v1/calls", calls).fallback_service(market.shop());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8090").await?;
    println!("http://{} (sign in with {})", listener.local_addr()?, fake_api::TOKEN);
    axum::serve(listener, app).await
}
