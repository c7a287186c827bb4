//! The price book: which hardware there is, what it is called, and what a second of it costs.

use protocol::Price;
use serde::{Deserialize, Serialize};

/// One kind of machine that a model can run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// How models, deployments and runners name it, such as `gpu-l40s`.
    pub sku: String,
    /// How people read it.
    pub name: String,
    /// Of a run, on an instance that came with demand and goes with it or on one that is kept.
    pub per_second: Price,
    /// Of an instance that a deployment keeps, while it waits; three quarters of a run's when not given.
    #[serde(default)]
    pub active_per_second: Option<Price>,
}

impl Hardware {
    /// What a second costs in which a kept instance waits.
    pub fn active(&self) -> Price {
        self.active_per_second.unwrap_or(Price(self.per_second.0 / 4 * 3))
    }
}

/// Every kind of hardware with its rate, in the order in which it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PriceBook(Vec<Hardware>);

/// SKU, name, and pico-dollars a second. The SKUs, names and rates are Replicate's, so that a model moves without being priced anew:
/// <https://replicate.com/pricing>.
const DEFAULT: [(&str, &str, i64); 16] = [
    ("cpu", "CPU", 100_000_000),
    ("gpu-t4", "Nvidia T4 GPU", 225_000_000),
    ("gpu-a40-small", "Nvidia A40 GPU", 575_000_000),
    ("gpu-a40-large", "Nvidia A40 (Large) GPU", 725_000_000),
    ("gpu-l40s", "Nvidia L40S GPU", 975_000_000),
    ("gpu-2x-l40s", "2x Nvidia L40S GPU", 1_950_000_000),
    ("gpu-4x-l40s", "4x Nvidia L40S GPU", 3_900_000_000),
    ("gpu-8x-l40s", "8x Nvidia L40S GPU", 7_800_000_000),
    ("gpu-a100-large", "Nvidia A100 (80GB) GPU", 1_400_000_000),
    ("gpu-a100-large-2x", "2x Nvidia A100 (80GB) GPU", 2_800_000_000),
    ("gpu-a100-large-4x", "4x Nvidia A100 (80GB) GPU", 5_600_000_000),
    ("gpu-a100-large-8x", "8x Nvidia A100 (80GB) GPU", 11_200_000_000),
    ("gpu-h100", "Nvidia H100 GPU", 1_525_000_000),
    ("gpu-h100-2x", "2x Nvidia H100 GPU", 3_050_000_000),
    ("gpu-h100-4x", "4x Nvidia H100 GPU", 6_100_000_000),
    ("gpu-h100-8x", "8x Nvidia H100 GPU", 12_200_000_000),
];

impl Default for PriceBook {
    fn default() -> Self {
        let hardware = DEFAULT.map(|(sku, name, picos)| Hardware {
            sku: sku.to_owned(),
            name: name.to_owned(),
            per_second: Price(picos),
            active_per_second: None,
        });
        PriceBook(hardware.into())
    }
}

impl PriceBook {
    /// Takes the operator's own list.
    pub fn new(hardware: Vec<Hardware>) -> Self {
        PriceBook(hardware)
    }

    /// Lists the hardware in the order in which it is shown.
    pub fn hardware(&self) -> &[Hardware] {
        &self.0
    }

    /// Finds what a SKU is and costs; none when the platform has no such hardware.
    pub fn find(&self, sku: &str) -> Option<&Hardware> {
        self.0.iter().find(|hardware| hardware.sku == sku)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sku_has_one_rate_and_the_rates_are_those_of_the_tag() {
        let book = PriceBook::default();
        let rate = |sku| book.find(sku).map(|hardware| hardware.per_second.to_string());
        assert_eq!(rate("cpu").as_deref(), Some("0.0001"));
        assert_eq!(rate("gpu-t4").as_deref(), Some("0.000225"));
        assert_eq!(rate("gpu-l40s").as_deref(), Some("0.000975"));
        assert_eq!(rate("gpu-a100-large").as_deref(), Some("0.0014"));
        assert_eq!(rate("gpu-h100").as_deref(), Some("0.001525"));
        assert_eq!(rate("gpu-b300"), None);
        let mut skus: Vec<_> = book.hardware().iter().map(|hardware| &hardware.sku).collect();
        skus.sort_unstable();
        skus.dedup();
        assert_eq!(skus.len(), book.hardware().len());
    }

    #[test]
    fn an_operator_sets_own_rates_as_decimals() {
        let json = r#"[{"sku":"gpu-rtx-5090","name":"The one under the desk","per_second":"0.0000125"}]"#;
        let book: PriceBook = serde_json::from_str(json).unwrap();
        let card = book.find("gpu-rtx-5090").unwrap();
        assert_eq!((card.per_second, card.active()), (Price(12_500_000), Price(9_375_000)));
        let active = Hardware { active_per_second: Some(Price(7)), ..card.clone() };
        assert_eq!(active.active(), Price(7));
    }
}
