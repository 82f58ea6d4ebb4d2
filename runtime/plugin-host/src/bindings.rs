//! Generated from `wit/`: the types and traits of the plugin contract.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "operations-plugin",
    imports: {
        "drover:plugin/channel": async | trappable,
        "drover:plugin/config": async,
        "drover:plugin/feed": async,
        "drover:plugin/job.progress": async,
        "drover:plugin/job.wait": async,
        "drover:plugin/log": async,
        "drover:plugin/process": async | trappable,
        "drover:plugin/state": async,
        "drover:plugin/streams": trappable,
        "drover:plugin/sysinfo": async,
    },
    with: {
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        "wasi:io": wasmtime_wasi::p2::bindings::io,
    },
    exports: { default: async },
    with: { "drover:plugin/process.child": crate::children::Child },
});

/// The same for plugins with asynchronous operations, with what only they may
/// call. What all may call is linked as it is above.
pub(crate) mod concurrent {
    wasmtime::component::bindgen!({
        inline: "
            package drover:host;
            world async-operations {
                import drover:plugin/async-streams@0.1.0;
                export drover:plugin/async-operations@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:host/async-operations",
        imports: { default: store | trappable },
        exports: { default: async },
    });
}

/// The same for plugins that parse log lines. The world has no imports, as the
/// ones above are linked for all.
pub(crate) mod parsing {
    wasmtime::component::bindgen!({
        inline: "
            package drover:host;
            world line-parser {
                export drover:plugin/line-parsing@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:host/line-parser",
        exports: { default: async },
    });
}

/// The same for those whose answers are packed.
pub(crate) mod packing {
    wasmtime::component::bindgen!({
        inline: "
            package drover:host;
            world packed-line-parser {
                export drover:plugin/packed-lines@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:host/packed-line-parser",
        exports: { default: async },
    });
}
