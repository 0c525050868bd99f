//! The set of running tasks: who may start one, and how many run.
//!
//! In: futures. Out: nothing; a task ends by itself or with the executor. Never: lets a task
//! outlive the executor.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use async_executor::LocalExecutor;

/// A handle to the one executor.
#[derive(Clone)]
pub struct Tasks {
    executor: Rc<LocalExecutor<'static>>,
    running: Rc<Cell<usize>>,
}

impl Tasks {
    /// Tasks of this executor.
    pub fn new(executor: Rc<LocalExecutor<'static>>) -> Tasks {
        Tasks { executor, running: Rc::default() }
    }

    /// Starts a task that the executor holds.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let running = self.running.clone();
        running.set(running.get() + 1);
        let counted = async move {
            task.await;
            running.set(running.get() - 1);
        };
        self.executor.spawn(counted).detach();
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.get()
    }
}
