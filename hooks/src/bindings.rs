//! The contract as Rust types, generated from `wit/hook.wit`.

wasmtime::component::bindgen!({
    path: "wit",
    world: "hook",
    imports: { default: trappable },
    exports: { default: async },
    with: {
        "feira:hook/blobs.blob": crate::call::Blob,
        "feira:hook/blobs.writer": crate::sandbox::Writer,
    },
});
