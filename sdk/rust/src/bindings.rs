//! What `wit-bindgen` makes of `wit/`. Other modules choose from it; nothing
//! else here is meant for authors.

#![allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "operations-plugin",
    pub_export_macro: true,
    // What the host tells can be passed on as an answer, with the contract's
    // own text as the descriptions of its schema.
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema],
    // These say how a call ends and are no data.
    additional_derives_ignore: [
        "error", "failure", "kind", "level", "operation", "progress-error",
        "publish-error",
    ],
});

/// The same for `line-parsing`, which not every plugin exports. The world has
/// no imports, as the ones above serve all.
pub mod parsing {
    wit_bindgen::generate!({
        inline: "
            package drover:sdk;
            world line-parser {
                export drover:plugin/line-parsing@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:sdk/line-parser",
        pub_export_macro: true,
    });
}
