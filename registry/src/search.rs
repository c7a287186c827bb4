//! Search over names, descriptions and readmes: every word must occur, and where it occurs decides the order. Good for hundreds of models.

use std::sync::Arc;

use crate::db::model;
use crate::models::ModelRow;
use crate::{Registry, RegistryError};

const FOUND_MAX: usize = 50;
const QUERY_BYTES_MAX: usize = 200;

/// A model that was found, and how well it fits; more is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub model: Arc<ModelRow>,
    pub score: f64,
}

impl Registry {
    /// Finds what an account may see, best first. What is longer than any query is cut; without a word there is nothing to find.
    pub async fn search(&self, query: &str, viewer_id: &str) -> Result<Vec<Found>, RegistryError> {
        let words = words_of(query);
        // The longest word leaves the fewest rows to rank.
        let Some(rarest) = words.iter().max_by_key(|word| word.len()).cloned() else {
            return Ok(Vec::new());
        };
        let viewer_id = viewer_id.to_owned();
        let rows = self.db.read(move |tx| Box::pin(async move { model::search(tx, &rarest, &viewer_id).await })).await?;
        let score = |(row, readme): (ModelRow, String)| {
            let score = score(&row, &readme.to_lowercase(), &words)?;
            Some(Found { model: Arc::new(row), score })
        };
        let mut found: Vec<Found> = rows.into_iter().filter_map(score).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.model.run_count.cmp(&a.model.run_count)));
        found.truncate(FOUND_MAX);
        Ok(found)
    }
}

pub(crate) fn words_of(query: &str) -> Vec<String> {
    let mut end = query.len().min(QUERY_BYTES_MAX);
    while !query.is_char_boundary(end) {
        end -= 1;
    }
    let is_between = |c: char| c.is_whitespace() || c.is_control();
    query[..end].to_lowercase().split(is_between).filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
}

/// The mean weight of the words; none when one of them occurs nowhere.
fn score(row: &ModelRow, readme: &str, words: &[String]) -> Option<f64> {
    let name = row.model.name.to_lowercase();
    let full_name = row.model.to_string();
    let description = row.description.to_lowercase();
    let task = row.task.as_deref().unwrap_or_default().to_lowercase();
    let weight = |word: &String| {
        let rules = [
            (*word == name || *word == full_name, 1.0),
            (name.starts_with(word), 0.8),
            (full_name.contains(word), 0.6),
            (*word == task, 0.5),
            (description.contains(word), 0.4),
            (task.contains(word), 0.3),
            (readme.contains(word), 0.2),
        ];
        rules.into_iter().find(|(fits, _)| *fits).map(|(_, weight)| weight)
    };
    let weights: Vec<f64> = words.iter().map(weight).collect::<Option<_>>()?;
    #[expect(clippy::cast_precision_loss, reason = "a query has few words")]
    let count = weights.len() as f64;
    Some(weights.iter().sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use protocol::ModelRef;

    use crate::models::{NewModel, Visibility};
    use crate::testing::{House, new_version, on_both_engines};

    async fn names(house: &House, query: &str, viewer_id: &str) -> Vec<String> {
        let found = house.registry.search(query, viewer_id).await.unwrap();
        found.iter().map(|found| found.model.model.name.clone()).collect()
    }

    #[tokio::test]
    async fn a_name_comes_before_a_description_and_that_before_a_readme() {
        on_both_engines(|house| async move {
            let ada = house.caller("ada").await;
            for (name, description, readme, visibility) in [
                ("upscale", "makes pictures larger", "Uses ESRGAN.", Visibility::Public),
                ("esrgan-slim", "larger pictures", "", Visibility::Public),
                ("llama", "writes 100% of the text", "Not upscale.", Visibility::Public),
                ("upscale-draft", "", "", Visibility::Private),
            ] {
                let model = ModelRef::new("ada", name).unwrap();
                let new = NewModel {
                    description: description.to_owned(),
                    readme: readme.to_owned(),
                    ..NewModel::named(model.clone(), visibility, "cpu")
                };
                house.registry.create_model(&ada, new).await.unwrap();
                house.publish(&ada, &model, new_version(name)).await;
            }
            assert_eq!(names(&house, "upscale", "").await, ["upscale", "llama"]);
            assert_eq!(names(&house, "Upscale", &ada.account.id).await, ["upscale", "upscale-draft", "llama"]);
            assert_eq!(names(&house, "esrgan", "").await, ["esrgan-slim", "upscale"]);
            assert_eq!(names(&house, "  larger   PICTURES ", "").await.len(), 2);
            assert_eq!(names(&house, "larger text", "").await, Vec::<String>::new());
            assert_eq!(names(&house, "100%", "").await, ["llama"]);
            for nothing in ["", "  ", "%", "_", "'; drop table model; --", "\0", "ada/absent", &"é".repeat(300)] {
                let expected: &[&str] = if nothing == "%" { &["llama"] } else { &[] };
                assert_eq!(names(&house, nothing, "").await, expected, "{nothing:?}");
            }
        })
        .await;
    }
}
