//! Starting tasks: a handle to the one executor.
//!
//! In: futures. Out: nothing; a task ends by itself or with the executor. Never: lets a task
//! outlive the executor.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use async_executor::LocalExecutor;

/// A handle to the one executor.
#[derive(Clone)]
pub struct Tasks {
    executor: Rc<LocalExecutor<'static>>,
}

impl Tasks {
    /// Tasks of this executor.
    pub fn new(executor: Rc<LocalExecutor<'static>>) -> Tasks {
        Tasks { executor }
    }

    /// Starts a task that the executor holds.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // Boxed: the executor's code for a task, some kilobytes, exists once and not for each kind.
        let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
        self.executor.spawn(task).detach();
    }
}
