//! What `wit-bindgen` makes of `wit/`. Other modules choose from it; nothing
//! else here is meant for authors.

#![allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]

/// What the network consists of: resources, which have nothing to derive.
pub mod network {
    wit_bindgen::generate!({ path: "../../wit", world: "network", generate_all });
}

wit_bindgen::generate!({
    path: "../../wit",
    world: "operations-plugin",
    with: {
        "drover:plugin/channel@0.1.0": network::drover::plugin::channel,
        "wasi:clocks/monotonic-clock@0.2.12": network::wasi::clocks::monotonic_clock,
        "wasi:http/outgoing-handler@0.2.12": network::wasi::http::outgoing_handler,
        "wasi:http/types@0.2.12": network::wasi::http::types,
        "wasi:io/error@0.2.12": network::wasi::io::error,
        "wasi:io/poll@0.2.12": network::wasi::io::poll,
        "wasi:io/streams@0.2.12": network::wasi::io::streams,
    },
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

/// The same for `async-operations`, with the streams that only they may use.
#[cfg(feature = "async")]
pub mod concurrent {
    wit_bindgen::generate!({
        inline: "
            package drover:sdk;
            world async-operations {
                import drover:plugin/async-streams@0.1.0;
                export drover:plugin/async-operations@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:sdk/async-operations",
        generate_all,
        pub_export_macro: true,
    });
}

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

/// The same for `packed-lines`, which is exported beside that.
pub mod packing {
    wit_bindgen::generate!({
        inline: "
            package drover:sdk;
            world packed-line-parser {
                export drover:plugin/packed-lines@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:sdk/packed-line-parser",
        pub_export_macro: true,
    });
}
