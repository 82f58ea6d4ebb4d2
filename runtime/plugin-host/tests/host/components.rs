//! Components that are made here, of text, where no compiler of a language would
//! make them so.

use std::path::{Path, PathBuf};

use drover_grants::{Manifest, embed};

/// What is around the module of a plugin with operations.
const PLUGIN: &str = include_str!("plugin.wat");

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `component` with a manifest in the words of `plugin.toml`.
pub(crate) fn with_manifest(component: &[u8], manifest: &str) -> Vec<u8> {
    embed(component, &Manifest::from_toml(manifest).unwrap()).unwrap()
}

/// A plugin in the text format: one operation `run`, whose body is `run`, with
/// `more` beside it in the module. The body may fall through to the answer
/// `null`. Memory 0 begins with what the plugin says of itself.
pub(crate) fn text_plugin(run: &str, more: &str) -> Vec<u8> {
    text_plugin_with_memory("(memory (export \"memory\") 1)", run, more)
}

/// The same with a memory of its own, of which the first page must be there.
pub(crate) fn text_plugin_with_memory(memory: &str, run: &str, more: &str) -> Vec<u8> {
    // Where the texts are, and how long: see the data below.
    let description = words(&[16, 1, 0, 0, 256, 3, 0, 264, 5, 272, 17, 296, 2]);
    let answer = words(&[0, 304, 4]);
    let module = format!(
        r#"(core module $main
            {memory}
            (data (i32.const 0) "{description}")
            (data (i32.const 128) "{answer}")
            (data (i32.const 256) "run\00\00\00\00\00worst\00\00\00{{\22type\22:\22object\22}}\00\00\00\00\00\00\00{{}}\00\00\00\00\00\00null")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "drover:plugin/operations@0.1.0#describe") (result i32) (i32.const 0))
            (func (export "drover:plugin/operations@0.1.0#run") (param i32 i32 i32 i32) (result i32)
                {run}
                (i32.const 128))
            {more}
        )"#
    );
    wat::parse_str(PLUGIN.replacen("  MODULE", &module, 1)).unwrap()
}

/// Numbers as they lie in memory, for a text.
fn words(numbers: &[u32]) -> String {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    bytes.map(|byte| format!("\\{byte:02x}")).collect()
}
