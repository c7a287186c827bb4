//! A prediction's output on the terminal or in files: text as text, files by their address or fetched.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures::StreamExt;
use protocol::Prediction;
use reqwest::Url;
use serde_json::Value;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::client::Client;
use crate::show;

/// What an output file is called that has no name of its own.
const UNNAMED: &str = "output";
/// Names of the same file that are tried: output.png, output-2.png, …
const NAMES_MAX: u32 = 10_000;

pub(super) fn print(schema: &Value, prediction: &Prediction) -> anyhow::Result<()> {
    show::line(&text(schema, &prediction.output))
}

/// The output as people read it: texts as they are, pieces of one text joined, lists a line each, all else as JSON.
fn text(schema: &Value, output: &Value) -> String {
    let joined = schema["components"]["schemas"]["Output"]["x-cog-array-display"] == "concatenate";
    match output {
        Value::String(text) => text.clone(),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(if joined { "" } else { "\n" })
        }
        other => format!("{other:#}"),
    }
}

/// Fetches the files of an output into `path`; an output without files is written there itself. Returns what was written.
pub(super) async fn save(client: &Client, prediction: &Prediction, path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let urls = file_urls(&prediction.output);
    let into_folder = path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/') || urls.len() > 1;
    if into_folder {
        fs::create_dir_all(path).await.with_context(|| format!("{} cannot be made", path.display()))?;
    }
    if urls.is_empty() {
        let (file, at) = if into_folder { create_new(path, "output.txt").await? } else { (File::create(path).await?, path.to_owned()) };
        return write(file, text(&Value::Null, &prediction.output).as_bytes()).await.map(|()| vec![at]);
    }
    let mut saved = Vec::with_capacity(urls.len());
    for url in urls {
        let (file, at) = if into_folder { create_new(path, &file_name(&url)).await? } else { (File::create(path).await?, path.to_owned()) };
        fetch(client, url, file).await.with_context(|| format!("{} cannot be written", at.display()))?;
        saved.push(at);
    }
    Ok(saved)
}

async fn write(mut file: File, bytes: &[u8]) -> anyhow::Result<()> {
    file.write_all(bytes).await?;
    Ok(file.flush().await?)
}

async fn fetch(client: &Client, url: Url, mut file: File) -> anyhow::Result<()> {
    if url.scheme() == "data" {
        let inline = data_bytes(&url).context("the output has a data address that cannot be read")?;
        return write(file, &inline).await;
    }
    let mut body = client.send(client.request_anywhere(url)).await?.bytes_stream();
    while let Some(chunk) = body.next().await {
        file.write_all(&chunk.map_err(|source| client.broken(source))?).await?;
    }
    Ok(file.flush().await?)
}

/// Opens a file that did not exist before: an earlier run's output is not overwritten.
async fn create_new(folder: &Path, name: &str) -> anyhow::Result<(File, PathBuf)> {
    let (stem, extension) = name.rsplit_once('.').map_or((name, String::new()), |(stem, ext)| (stem, format!(".{ext}")));
    for number in 1..NAMES_MAX {
        let at = folder.join(if number == 1 { name.to_owned() } else { format!("{stem}-{number}{extension}") });
        match OpenOptions::new().write(true).create_new(true).open(&at).await {
            Ok(file) => return Ok((file, at)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be written", at.display())),
        }
    }
    anyhow::bail!("{} is full of files called {name}", folder.display())
}

/// Every address of a file in an output, in order.
fn file_urls(output: &Value) -> Vec<Url> {
    match output {
        Value::String(text) => {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https" | "data"));
            url.into_iter().collect()
        }
        Value::Array(items) => items.iter().flat_map(file_urls).collect(),
        Value::Object(fields) => fields.values().flat_map(file_urls).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The last word of an address, made harmless: no folder, no hidden file.
fn file_name(url: &Url) -> String {
    if url.scheme() == "data" {
        return format!("{UNNAMED}.{}", extension(url.path().split([';', ',']).next().unwrap_or_default()));
    }
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let safe: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    let safe = safe.trim_start_matches('.');
    if safe.is_empty() { UNNAMED.to_owned() } else { safe.to_owned() }
}

/// What people call a file of this type: of the many names that are registered, the one that is the type's own or in use.
fn extension(kind: &str) -> &str {
    let subtype = kind.rsplit('/').next().unwrap_or_default();
    let known = mime_guess::get_mime_extensions_str(kind).unwrap_or_default();
    [subtype, "txt", "mp3"].into_iter().find(|usual| known.contains(usual)).or(known.first().copied()).unwrap_or("bin")
}

fn data_bytes(url: &Url) -> Option<Vec<u8>> {
    let (kind, data) = url.path().split_once(',')?;
    if !kind.ends_with(";base64") {
        return None;
    }
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_output_is_shown_as_people_read_it() {
        let concatenated = json!({"components": {"schemas": {"Output": {"x-cog-array-display": "concatenate"}}}});
        assert_eq!(text(&Value::Null, &json!("hello Ada")), "hello Ada");
        assert_eq!(text(&concatenated, &json!(["hel", "lo"])), "hello");
        assert_eq!(text(&Value::Null, &json!(["https://a.example/1", "https://a.example/2"])), "https://a.example/1\nhttps://a.example/2");
        assert_eq!(text(&Value::Null, &json!({"a": 1})), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn a_files_name_cannot_leave_its_folder() {
        for (url, name) in [
            ("https://a.example/files/cat.png?signature=x", "cat.png"),
            ("https://a.example/..%2F..%2Fetc%2Fpasswd", "2F..2Fetc2Fpasswd"),
            ("https://a.example/.bashrc", "bashrc"),
            ("https://a.example/", "output"),
            ("data:image/png;base64,AAAA", "output.png"),
            ("data:text/plain;charset=utf-8;base64,AAAA", "output.txt"),
            ("data:audio/mpeg;base64,AAAA", "output.mp3"),
            ("data:what/ever;base64,AAAA", "output.bin"),
        ] {
            assert_eq!(file_name(&Url::parse(url).unwrap()), name, "{url}");
        }
    }

    #[test]
    fn files_are_found_wherever_they_stand() {
        let output = json!({"image": "https://a.example/1.png", "more": ["https://a.example/2.png", "words", 3]});
        let found: Vec<_> = file_urls(&output).iter().map(Url::to_string).collect();
        assert_eq!(found, ["https://a.example/1.png", "https://a.example/2.png"]);
        assert_eq!(data_bytes(&Url::parse("data:text/plain;base64,aGk=").unwrap()), Some(b"hi".to_vec()));
    }

    #[tokio::test]
    async fn an_earlier_output_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for expected in ["a.tar.gz", "a.tar-2.gz", "a.tar-3.gz"] {
            let (_, at) = create_new(folder.path(), "a.tar.gz").await.unwrap();
            assert_eq!(at, folder.path().join(expected));
        }
    }
}
