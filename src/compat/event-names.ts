// The events of Spacedrive that this daemon tells, by their names there.
export const EVENT_NAMES: readonly string[] = [
  'CoreShutdown',
  'LibraryCreated',
  'LibraryOpened',
  'LibraryClosed',
  'LibraryDeleted',
  'LibraryLoadFailed',
  'Refresh',
  'JobQueued',
  'JobStarted',
  'JobProgress',
  'JobPaused',
  'JobResumed',
  'JobCompleted',
  'JobFailed',
  'JobCancelled',
  'IndexingProgress',
  'LocationAdded',
  'LocationRemoved',
  'FilesModified',
  'ResourceChanged',
  'ResourceChangedBatch',
  'ResourceDeleted',
]

export const NOISY: readonly string[] = ['JobProgress', 'IndexingProgress']
