//! Generated from `wit/`: the types and traits of the plugin contract.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "operations-plugin",
    imports: {
        "drover:plugin/config": async,
        "drover:plugin/feed": async,
        "drover:plugin/job.progress": async,
        "drover:plugin/job.wait": async,
        "drover:plugin/log": async,
        "drover:plugin/state": async,
        "drover:plugin/sysinfo": async,
    },
    exports: { default: async },
});
