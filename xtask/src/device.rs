//! Devices by name: `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:0`.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;

/// Finds the device of that name among those compiled in and present.
pub fn device(name: &str) -> Result<Device> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let index: usize = index
        .parse()
        .with_context(|| format!("device `{name}`: expected a number after the colon"))?;
    let devices = match kind {
        "cpu" => vec![Device::flex()],
        #[cfg(feature = "cuda")]
        "cuda" => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec(),
        #[cfg(not(feature = "cuda"))]
        "cuda" => bail!("device `{name}`: this binary is built without --features cuda"),
        #[cfg(not(feature = "wgpu"))]
        "wgpu" => bail!("device `{name}`: this binary is built without --features wgpu"),
        _ => bail!("device `{name}`: expected `cpu`, `cuda[:i]` or `wgpu[:i]`"),
    };
    let n_devices = devices.len();
    devices.into_iter().nth(index).with_context(|| match (kind, n_devices) {
        ("cuda", 0) => format!(
            "device `{name}`: no CUDA device was found; expected an NVIDIA GPU with its driver \
             (libcuda)"
        ),
        ("wgpu", 0) => format!(
            "device `{name}`: no device was found; expected a GPU with a Vulkan, Metal or DirectX 12 driver, or \
             Mesa's software renderer"
        ),
        _ => format!("device `{name}`: {n_devices} of this kind were found"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_there_once() {
        assert_eq!(device("cpu").unwrap(), Device::flex());
        assert_eq!(
            device("cpu:1").unwrap_err().to_string(),
            "device `cpu:1`: 1 of this kind were found"
        );
        let unknown = device("tpu").unwrap_err().to_string();
        assert_eq!(unknown, "device `tpu`: expected `cpu`, `cuda[:i]` or `wgpu[:i]`");
    }
}
