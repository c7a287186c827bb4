//! The files of the predictions that run in one instance: where the model finds its inputs, and where its outputs went.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::wire::{Assignment, Grant};
use protocol::{Digest, PredictionId, VersionConfig};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::Value;

use crate::outside::{Outside, OutsideError};
use crate::schema::map_files;

/// How an input file of the platform's own begins.
const INPUTS: &str = "/runner/inputs/";
/// A file name's bytes on the platform; longer ones are cut.
const NAME_BYTES_MAX: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the platform refused the file with status {0}")]
    Refused(u16),
    #[error("the platform named no place for the file")]
    NoLocation,
    #[error("the platform cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error(transparent)]
    Outside(#[from] OutsideError),
}

/// One instance's files. Only those of predictions that run in it are here.
#[derive(Debug)]
pub struct Desk {
    /// Where the model reaches the sidecar.
    address: SocketAddr,
    secret: String,
    made: AtomicU64,
    runs: Mutex<HashMap<String, Arc<RunFiles>>>,
    http: reqwest::Client,
    outside: Outside,
}

impl Desk {
    /// `secret` makes the addresses that it hands out unguessable: on a machine without namespaces others may reach the sidecar too.
    pub fn new(address: SocketAddr, secret: &[u8; 32], http: reqwest::Client, outside: Outside) -> Self {
        let secret = hex::encode(secret);
        Self { address, secret, made: AtomicU64::new(0), runs: Mutex::default(), http, outside }
    }

    /// What Cog's `--upload-url` is.
    pub fn upload_url(&self) -> String {
        format!("http://{}/outputs/{}", self.address, self.secret)
    }

    pub fn is_upload_secret(&self, secret: &str) -> bool {
        self.secret == secret
    }

    /// The prediction's files until the returned guard is dropped, and its input with addresses that the model can reach.
    pub fn open(self: &Arc<Self>, assignment: &Assignment) -> (OpenFiles, Value) {
        let Assignment { prediction, grant, bundle, input, .. } = assignment;
        let (prediction, config) = (*prediction, &bundle.config);
        let mut sources = HashMap::new();
        let schema = config.input_schema_of(assignment.errand);
        let input = map_files(&config.openapi_schema, schema, input.clone(), &mut |text| {
            let reachable = text.starts_with(INPUTS) || text.starts_with("http://") || text.starts_with("https://");
            if !reachable {
                return Value::String(text);
            }
            let token = self.unguessable();
            let address = format!("http://{}/inputs/{token}/{}", self.address, last_segment(&text));
            sources.insert(token, text);
            Value::String(address)
        });
        let files =
            Arc::new(RunFiles { prediction, grant: grant.clone(), sources, uploads: Mutex::default(), unfetched: Mutex::default() });
        self.runs().insert(prediction.to_string(), files.clone());
        (OpenFiles { desk: self.clone(), files }, input)
    }

    pub fn of(&self, prediction: &str) -> Option<Arc<RunFiles>> {
        self.runs().get(prediction).cloned()
    }

    /// The prediction whose input has this token.
    pub fn with_input(&self, token: &str) -> Option<Arc<RunFiles>> {
        self.runs().values().find(|files| files.sources.contains_key(token)).cloned()
    }

    /// Fetches an input file for the model. A failure is remembered: it, not the model's complaint, is why the prediction failed.
    pub async fn fetch(&self, files: &RunFiles, token: &str) -> Option<reqwest::Response> {
        let source = files.sources.get(token)?;
        let fetched = if source.starts_with(INPUTS) {
            self.fetch_own(files, source).await
        } else {
            self.outside.get(source).await.map_err(FileError::from)
        };
        match fetched {
            Ok(response) => Some(response),
            Err(error) => {
                tracing::info!(prediction = %files.prediction, error = &error as &dyn std::error::Error, "an input file could not be fetched");
                *files.unfetched.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(format!("{} could not be fetched: {error}", last_segment(source)));
                None
            }
        }
    }

    async fn fetch_own(&self, files: &RunFiles, source: &str) -> Result<reqwest::Response, FileError> {
        let request = self.http.get(format!("{}{source}", files.grant.base_url)).bearer_auth(&files.grant.token);
        let response = request.send().await.map_err(FileError::Unreachable)?;
        if response.status().is_success() { Ok(response) } else { Err(FileError::Refused(response.status().as_u16())) }
    }

    /// Hands an output file to the platform. Returns the reference under which the model may name it.
    pub async fn upload(&self, files: &RunFiles, name: &str, media_type: &str, body: reqwest::Body) -> Result<String, FileError> {
        let name = files.uploads().free_name(name);
        let url = format!("{}/runner/files/{}/{name}", files.grant.base_url, files.prediction);
        let request = self.http.put(url).bearer_auth(&files.grant.token).header(CONTENT_TYPE, media_type).body(body);
        let response = request.send().await.map_err(FileError::Unreachable)?;
        if !response.status().is_success() {
            return Err(FileError::Refused(response.status().as_u16()));
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or(FileError::NoLocation)?.to_owned();
        let reference = format!("feira-upload:{}", self.unguessable());
        files.uploads().locations.insert(reference.clone(), location);
        Ok(reference)
    }

    /// A piece of output as the platform knows it: references become the locations they stand for, and files that came inline are uploaded.
    ///
    /// Cog uploads no file that lies inside an object, and sends it as a `data:` address instead; and it drops the query of a location,
    /// which is why it is only ever told a reference.
    pub async fn publish(
        &self,
        files: &RunFiles,
        config: &VersionConfig,
        schema: &Value,
        name: &str,
        chunk: Value,
    ) -> Result<Value, FileError> {
        let mut inline = Vec::new();
        let chunk = map_files(&config.openapi_schema, schema, chunk, &mut |text| match files.uploads().locations.get(&text) {
            Some(location) => Value::String(location.clone()),
            None if text.starts_with("data:") => {
                inline.push(text);
                Value::String("data:".to_owned())
            }
            None => Value::String(text),
        });
        if inline.is_empty() {
            return Ok(chunk);
        }
        let mut published = Vec::with_capacity(inline.len());
        for address in inline {
            published.push(self.publish_inline(files, name, address).await?);
        }
        let mut published = published.into_iter();
        let mut in_place = |text: String| Value::String(if text == "data:" { published.next().unwrap_or(text) } else { text });
        Ok(map_files(&config.openapi_schema, schema, chunk, &mut in_place))
    }

    /// An address that is not base64 stays as it is.
    async fn publish_inline(&self, files: &RunFiles, name: &str, address: String) -> Result<String, FileError> {
        let Some((media_type, content)) = decode(&address) else { return Ok(address) };
        let name = format!("{name}.{}", extension(media_type));
        let reference = self.upload(files, &name, media_type, Bytes::from(content).into()).await?;
        Ok(files.uploads().locations.get(&reference).cloned().unwrap_or(reference))
    }

    fn unguessable(&self) -> String {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        Digest::of(format!("{}:{made}", self.secret).as_bytes()).hex()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, Arc<RunFiles>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One prediction's files.
#[derive(Debug)]
pub struct RunFiles {
    pub prediction: PredictionId,
    grant: Grant,
    /// Where each input file comes from, by token.
    sources: HashMap<String, String>,
    uploads: Mutex<Uploads>,
    unfetched: Mutex<Option<String>>,
}

impl RunFiles {
    /// Why an input file could not be had, if one could not.
    pub fn unfetched(&self) -> Option<String> {
        self.unfetched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Uploads {
    names: HashSet<String>,
    /// By reference.
    locations: HashMap<String, String>,
}

impl Uploads {
    /// Files of one prediction may come from different folders under one name.
    fn free_name(&mut self, name: &str) -> String {
        let cut = name.floor_char_boundary(NAME_BYTES_MAX);
        let name = if cut == 0 { "output" } else { &name[..cut] };
        let (stem, extension) = name.rsplit_once('.').map_or((name, String::new()), |(stem, extension)| (stem, format!(".{extension}")));
        let numbered = (1..).map(|n| format!("{stem}-{n}{extension}"));
        let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !self.names.contains(name));
        let free = free.expect("there are more numbers than files");
        self.names.insert(free.clone());
        free
    }
}

/// Takes the prediction's files off the desk when it ends.
#[derive(Debug)]
pub struct OpenFiles {
    desk: Arc<Desk>,
    files: Arc<RunFiles>,
}

impl std::ops::Deref for OpenFiles {
    type Target = RunFiles;

    fn deref(&self) -> &RunFiles {
        &self.files
    }
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        self.desk.runs().remove(&self.files.prediction.to_string());
    }
}

fn last_segment(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or(address);
    path.rsplit('/').next().filter(|segment| !segment.is_empty()).unwrap_or("file")
}

fn decode(address: &str) -> Option<(&str, Vec<u8>)> {
    let (head, content) = address.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let content = STANDARD.decode(content).ok()?;
    Some((if media_type.is_empty() { "application/octet-stream" } else { media_type }, content))
}

/// The usual ending of a file of this type; the model's own was lost on the way.
fn extension(media_type: &str) -> &str {
    match media_type.split(';').next().unwrap_or(media_type) {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "image/svg+xml" => "svg",
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "audio/mpeg" => "mp3",
        "audio/wav" | "audio/x-wav" => "wav",
        "audio/flac" => "flac",
        "text/plain" => "txt",
        "text/csv" => "csv",
        "application/json" => "json",
        "application/zip" => "zip",
        "application/pdf" => "pdf",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_of_one_name_get_two_names() {
        let mut uploads = Uploads::default();
        assert_eq!(uploads.free_name("out.png"), "out.png");
        assert_eq!(uploads.free_name("out.png"), "out-1.png");
        assert_eq!(uploads.free_name("out.png"), "out-2.png");
        assert_eq!(uploads.free_name(""), "output");
        assert!(uploads.free_name(&"é".repeat(500)).len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn a_file_is_named_after_the_end_of_its_address() {
        assert_eq!(last_segment("/runner/inputs/f1/cat.png"), "cat.png");
        assert_eq!(last_segment("https://example.org/a/b.wav?sig=1/2"), "b.wav");
        assert_eq!(last_segment("https://example.org/"), "file");
    }

    #[test]
    fn inline_files_are_decoded_and_others_left_alone() {
        assert_eq!(decode("data:image/png;base64,aGk="), Some(("image/png", b"hi".to_vec())));
        assert_eq!(decode("data:,hello"), None);
        assert_eq!(decode("data:image/png;base64,***"), None);
    }
}
