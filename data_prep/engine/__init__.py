"""Work on more data than fits into memory: tasks that read and write files, in phases, in any number of processes.

- A **task** is a plain function with picklable arguments. It writes its files under temporary names and renames them,
  and returns a small dictionary. Equal arguments give equal bytes, so a task may be run again at any time.
- A **phase** is a list of tasks of which none needs another's result (`phases.py`). A finished task leaves a mark; a
  run that was killed starts again at the first task without one.
- **Workers** are this process, local processes, or those of a Dask cluster (`workers.py`). They never decide what a
  task is: the same bytes come out of any number of them.
- What needs all data at once (which lines repeat, which texts are alike) goes through **sorted runs** on disk
  (`sorted_runs.py`): each task writes its keys sorted, and a range of keys is read from all of them.
"""
