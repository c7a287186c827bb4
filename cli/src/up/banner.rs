//! What a person needs to know once the house stands: where to look, with which token, what to try.

use serde_json::json;

use crate::show;
use crate::up::home::Home;
use crate::up::house::House;

pub fn print(house: &House, home: &Home, as_json: bool) -> anyhow::Result<()> {
    let House { url, token, .. } = house;
    let token_file = home.token_path();
    if as_json {
        return show::json_line(&json!({"ready": true, "url": url, "api": format!("{url}/v1"), "token_file": token_file}));
    }
    show::line(&format!(
        "
  feira is open

  web    {url}/signin?token={token}
  api    {url}/v1
  token  {token}   (also in {})

  try    feira run feira/hello-world name=Ada
         REPLICATE_BASE_URL={url} REPLICATE_API_TOKEN={token} \\
           python -c 'import replicate; print(replicate.run(\"feira/hello-world\", input={{\"name\": \"Ada\"}}))'
",
        token_file.display()
    ))
}
