//! Wraps a core module that carries its WIT world (as `wit-bindgen` leaves it) into a component: `componentize IN OUT`.

use std::error::Error;
use std::{env, fs};

use wit_component::ComponentEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let [module_path, component_path]: [String; 2] =
        env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: componentize IN OUT")?;
    let module = fs::read(module_path)?;
    let component = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    fs::write(component_path, component)?;
    Ok(())
}
