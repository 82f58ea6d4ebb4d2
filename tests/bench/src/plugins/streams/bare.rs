//! An asynchronous operation without a host around it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use wasmtime::component::{
    Access, Component, Destination, HasSelf, Linker, ResourceTable, Source, StreamConsumer,
    StreamProducer, StreamReader, StreamResult, VecBuffer,
};
use wasmtime::{Config, Engine, Store, StoreContextMut, bail};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::contract::drover::plugin::async_streams::{Error, Host, HostWithStore};
use super::PIECE;
use crate::instance::trap_ours;

mod contract {
    wasmtime::component::bindgen!({
        inline: "
            package drover:bench;
            world async-operations {
                import drover:plugin/async-streams@0.1.0;
                export drover:plugin/async-operations@0.1.0;
            }
        ",
        path: "../../wit",
        world: "drover:bench/async-operations",
        imports: { default: store | trappable },
        exports: { default: async },
    });
}

/// The component, compiled.
pub(super) struct Bare {
    engine: Engine,
    component: contract::AsyncOperationsPre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    /// Bytes that are still to come.
    left: usize,
    /// Bytes that came out.
    passed: Arc<AtomicUsize>,
}

impl Bare {
    /// Compiles the component in this process.
    pub(super) fn load(component: &Path) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        trap_ours(&mut linker, &engine, &component)?;
        contract::drover::plugin::async_streams::add_to_linker::<_, HasSelf<State>>(
            &mut linker,
            |state| state,
        )?;
        let component = contract::AsyncOperationsPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, component })
    }

    /// Sends so many bytes through an instance.
    pub(super) async fn pass(&self, amount: usize) -> wasmtime::Result<()> {
        let passed = Arc::<AtomicUsize>::default();
        let wasi = WasiCtx::builder().build();
        let state = State { wasi, table: ResourceTable::new(), left: amount, passed };
        let passed = Arc::clone(&state.passed);
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.component.instantiate_async(&mut store).await?;
        let run = instance.drover_plugin_async_operations().func_run();
        let (answer,) = run.call_async(&mut store, ("copy".to_owned(), "{}".to_owned())).await?;
        let passed = passed.load(Ordering::Relaxed);
        match answer {
            Ok(_) if passed == amount => Ok(()),
            answer => bail!("{passed} bytes passed, and it said {answer:?}"),
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Host for State {}

impl<T: Send + 'static> HostWithStore<T> for HasSelf<State> {
    fn input(mut host: Access<'_, T, Self>) -> wasmtime::Result<Result<StreamReader<u8>, Error>> {
        let input = Input { left: host.get().left };
        Ok(Ok(StreamReader::new(&mut host, input)?))
    }

    fn output(
        mut host: Access<'_, T, Self>,
        bytes: StreamReader<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let output = Output { passed: Arc::clone(&host.get().passed) };
        bytes.pipe(&mut host, output).map(Ok)
    }
}

struct Input {
    left: usize,
}

impl<D: 'static> StreamProducer<D> for Input {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut destination = destination.as_direct(store, PIECE);
        let room = destination.remaining();
        let length = room.len().min(self.left);
        room[..length].fill(7);
        destination.mark_written(length);
        self.left -= length;
        Poll::Ready(Ok(match self.left {
            0 => StreamResult::Dropped,
            _ => StreamResult::Completed,
        }))
    }
}

struct Output {
    passed: Arc<AtomicUsize>,
}

impl<D: 'static> StreamConsumer<D> for Output {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let length = source.remaining().len();
        source.mark_read(length);
        self.passed.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
