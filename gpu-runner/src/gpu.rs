//! The machine's GPUs as NVML tells them; a machine without its library has none.

use std::path::PathBuf;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// One GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub index: u32,
    pub uuid: String,
    pub name: String,
    pub memory_bytes: u64,
    /// What a process must be able to open to use this GPU and no other.
    pub device: PathBuf,
}

/// Every GPU that answers. Empty without a driver; a GPU that does not answer is left out and named in the log.
pub fn inventory() -> Vec<Gpu> {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::debug!(%error, "no GPU library");
            return Vec::new();
        }
    };
    let count = nvml.device_count().unwrap_or_else(|error| {
        tracing::warn!(%error, "the GPU driver cannot count its devices");
        0
    });
    let mut gpus = Vec::new();
    for index in 0..count {
        match read(&nvml, index) {
            Ok(gpu) => gpus.push(gpu),
            Err(error) => tracing::warn!(gpu.index = index, %error, "a GPU does not answer and is not used"),
        }
    }
    gpus
}

fn read(nvml: &Nvml, index: u32) -> Result<Gpu, NvmlError> {
    let device = nvml.device_by_index(index)?;
    Ok(Gpu {
        index,
        uuid: device.uuid()?,
        name: device.name()?,
        memory_bytes: device.memory_info()?.total,
        device: PathBuf::from(format!("/dev/nvidia{}", device.minor_number()?)),
    })
}

/// The SKUs that Replicate sells, by a word of the name that the driver gives: <https://replicate.com/docs/reference/http#hardware.list>.
const SOLD: [(&str, &str); 6] = [
    ("T4", "gpu-t4"),
    ("L40S", "gpu-l40s"),
    ("A40", "gpu-a40-large"),
    ("A100", "gpu-a100-large"),
    ("H100", "gpu-h100"),
    ("H200", "gpu-h200"),
];

/// What an instance that owns these GPUs is sold as: `cpu`, `gpu-t4`, `gpu-h100-8x`. A kind that Replicate does not sell is named after itself.
pub fn sku(gpus: &[Gpu]) -> String {
    let Some(first) = gpus.first() else { return "cpu".to_owned() };
    let words = || first.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let one = SOLD.iter().find(|(word, _)| words().any(|w| w == *word)).map_or_else(
        || {
            let own: Vec<String> = words().filter(|word| *word != "NVIDIA").map(str::to_ascii_lowercase).collect();
            format!("gpu-{}", own.join("-"))
        },
        |(_, sku)| (*sku).to_owned(),
    );
    if gpus.len() == 1 { one } else { format!("{one}-{}x", gpus.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(name: &str) -> Gpu {
        Gpu { index: 0, uuid: "GPU-0".to_owned(), name: name.to_owned(), memory_bytes: 1 << 34, device: "/dev/nvidia0".into() }
    }

    #[test]
    fn a_machine_without_gpus_is_sold_as_cpu() {
        assert_eq!(sku(&[]), "cpu");
    }

    #[test]
    fn gpus_are_sold_under_the_names_that_callers_know() {
        assert_eq!(sku(&[gpu("Tesla T4")]), "gpu-t4");
        assert_eq!(sku(&[gpu("NVIDIA L40S")]), "gpu-l40s");
        assert_eq!(sku(&[gpu("NVIDIA A100-SXM4-80GB")]), "gpu-a100-large");
        assert_eq!(sku(&[gpu("NVIDIA H100 80GB HBM3"), gpu("NVIDIA H100 80GB HBM3")]), "gpu-h100-2x");
        assert_eq!(sku(&[gpu("NVIDIA GeForce RTX 4090")]), "gpu-geforce-rtx-4090");
    }
}
