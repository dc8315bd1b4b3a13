// Every bound of the daemon, with its unit and the reason for its value. Relations between bounds are asserted below.
import assert from 'node:assert'

export const LIMITS = {
  /** The soft limit is never raised past this: allocators that size tables by it have died of 1e9. */
  softMax: 1_048_576,
  /** The launcher refuses to start under this hard limit: Node holds about 20, each thread 5, and a library needs 3. */
  hardFloor: 56,
  /** Without being told how many shards, a daemon has no more than one for so many descriptors of its limit. */
  shardDescriptors: 64,
  /** Threads that walk trees, at most: two keep a disk busy. */
  taskThreadsMax: 2,
  /** The limit is read again at this interval: a cut is obeyed within four of them. */
  limitCheckMs: 500,
  /** The kernel's table of descriptors is grown this far at boot (512 KiB), in one go of about 8 ms instead of a stall per doubling. */
  tablePreallocatedMax: 65_536,
  /** Under this many descriptors a warning is logged at boot. */
  softWarn: 10_000,
  /** What the warning recommends. */
  softRecommended: 65_536,

  /** Soft limit of a program we start where the launcher noted none: select() cannot name a higher descriptor than 1,023. */
  childSoft: 1_024,
  /** A program we wait for is ended after this. */
  childMs: 5_000,

  /** Body of POST /rpc and a WebSocket message: 10,000 paths fit, a memory bomb does not. */
  bodyBytesMax: 1 << 20,
  /** One past that is read up to here and refused at its end, so that its client reads why; the connection of a longer one is closed. */
  bodyIgnoredBytesMax: 16 << 20,
  /** Values within values of a message in MessagePack; parameters go four deep, and reading it takes stack. */
  packedDepthMax: 64,
  /** Requests in one JSON-RPC batch. */
  batchRequestsMax: 100,
  /** A request unanswered for this long gets TIMEOUT; uWebSockets alone would hold it for ever. */
  responseMs: 30_000,
  /** Requests of one client that may wait for an answer on one WebSocket. */
  feedInFlightMax: 256,
  /** Unsent bytes on one WebSocket before its requests are refused. */
  feedBufferedBytesMax: 1 << 20,
  /** Unsent bytes on one connection before its events wait, and the most that are sent to one in a turn of the loop. */
  feedEventsAheadBytes: 64 << 10,
  /** A stream of events without an event is written to this often: shorter than proxies and load balancers wait. */
  streamBeatMs: 5_000,
  /** A browser whose stream of events ended comes back after this. */
  streamRetryMs: 1_000,
  /** Events kept, once for all subscribers: at 5,000 a second who stops reading for three seconds loses none. */
  eventsKeptMax: 16_384,
  /** The same in bytes, as they are sent. */
  eventsKeptBytesMax: 8 << 20,
  /** Those of them that are kept over a restart, in bytes as they are sent, and the runs of the daemon whose cursors are known then. */
  eventsStoredBytesMax: 1 << 20,
  eventsRunsMax: 16,
  /** Answers that wait for one another until the loop has looked at all who ask: some milliseconds of work. Those beyond leave at once. */
  answersTogetherMax: 256,
  /** Of what is wrong with parameters: all that a schema says by itself, not all keys that somebody made up. */
  problemCharsMax: 1_000,
  /** Directories that one event names, of those in which entries changed. */
  directoriesToldMax: 20,
  /** Subscriptions on one WebSocket. */
  feedSubscriptionsMax: 32,
  /**
   * Connections the kernel holds until they are accepted (net.core.somaxconn may lower it; uWebSockets without the addon has 512).
   * With 511, the kernel forgot one in seven of 5,000 at once: they came again a second later, and those that said nothing never
   * heard of it.
   */
  backlogMax: 4_096,
  /** A WebSocket that is silent, pings included, for this long is closed: so long a peer that vanished holds its descriptor. */
  feedIdleMs: 30_000,
  /** Unread bytes on one WebSocket, answers included, before it is closed: its client has stopped reading. */
  feedUnreadBytesMax: 16 << 20,
  /** Unread bytes of all answers to all clients; then the one that is unread the longest is cut. One in eight may be the longest there is. */
  unreadBytesMax: 128 << 20,
  /** The peer of a WebSocket being closed has this long to close its side. */
  feedCloseMs: 1_000,
  /**
   * At the end of the daemon it has no longer than this: closed with something of its peer's unread a connection is reset, and what was
   * sent last is lost to a peer that writes on.
   */
  feedLeaveMs: 100,
  /** An HTTP connection kept alive without a request: uSockets closes at about this, the node front does the same. */
  httpIdleMs: 10_000,

  /** Under high pressure refused clients are told to come back within 1 to so many seconds, at random. */
  retrySpreadSeconds: 3,
  /** Who is refused for want of a connection has idle ones closed that did nothing for this long, looked for once in this time. */
  newcomerIdleMs: 1_000,
  makeRoomMs: 100,
  /** Connections looked at in one go when idle ones are to give way: about 3 ms. */
  giveWayLookMax: 2_048,
  /** What is known of the age of a request in flight is known in steps of this. */
  workingStepMs: 250,
  /** A peer that was refused counts as waiting for this long, and so many do at the most. */
  shareWaitMs: 5_000,
  sharePeersMax: 64,
  /** A loop that did not turn for this long stood still; what is slower than this on a busy machine is not served either. */
  stallMs: 2_000,
  /** For a shard, which works at one long query without turning. */
  shardStallMs: 5_000,
  /** That the main loop stood still is told for this long after: whoever asks once in a while is to hear of it. */
  stallToldMs: 5_000,
  /** What is read so soon after may have been asked long before. */
  resumeMs: 1_000,
  /** It is begun after this, by when the loop has looked at everybody again; more than so many are begun at once. */
  resumeHoldMs: 100,
  resumeHeldMax: 10_000,
  /** How late the loop was at worst is remembered for this long: longer than any request is in flight. */
  latestKeptMs: 60_000,
  /** How often it is looked whether accept fails: a loop that spins because of it does so no longer than this. */
  acceptLookMs: 50,
  /** Newcomers that are met at a listener in one turn of the loop: those who are in wait some 1.5 ms for them, whoever floods. */
  acceptTurnMax: 64,
  /** A listener whose accept fails is left alone for this long, doubled at each failure: recovery takes a second at most. */
  acceptPauseMs: 100,
  acceptPauseMsMax: 500,
  /** Descriptors of the reserve are lent for this long, to tell those who wait that they cannot be let in. */
  acceptLoanMs: 1_000,
  /** That accept fails is logged once in this time. */
  acceptTellMs: 10_000,
  /** A loop spins that for this long was busier and turned oftener than this, with requests, messages and connections in fewer turns. */
  spinLookMs: 1_000,
  spinUtilization: 0.95,
  spinTurnsPerMs: 1,
  /** One that span turns as slowly as this on a machine that is busy, or under a tracer; its own timers are a fifth of it. */
  spinAgainTurnsPerMs: 0.25,
  /** Fewer turns than this say nothing while it is busy. */
  spinAgainTurnsMin: 10,
  spinWorkShare: 0.1,
  /** So much work a millisecond is never called spinning. */
  spinNeverPerMs: 1_000,
  /** Without the addon a loop that spins sleeps for this long in each turn. */
  spinBrakeMs: 5,

  /** Node front: the headers of a request must be whole within this; uSockets drops at about the same. */
  httpHeadersMs: 12_000,
  /** Node front: a whole request, body included. */
  httpRequestMs: 30_000,
  /** Node front: headers of one request that are read. */
  httpHeadersMax: 100,
  /** Steps of the one clock that watches response deadlines: TIMEOUT comes at most this late. */
  deadlineStepMs: 250,
  /** So many steps pass at once at the most, however long the loop stood still: deadlines do not all fire because it did. */
  deadlineStepsMax: 4,
  /** Of a file that is sent, what is read at a time: few system calls for a fast reader, little memory for a slow one. */
  filePartBytes: 256 << 10,
  /** Files that are open at a time to be sent; the others wait, without a descriptor. The system reads four at a time for us. */
  filesOpenMax: 8,
  /** Ranges of one request for a file; a request with more is answered with the whole file. */
  fileRangesMax: 16,
  /** Answers longer than this are written as the client reads them, instead of being copied whole into the socket's buffer. */
  answerCopyBytesMax: 64 << 10,

  /** Entries of one answer to Spacedrive's clients, whose lists have no cursor: some 8 MB of JSON. */
  compatListMax: 10_000,
  /** A whole line has to come within this on a connection of the line protocol: as long as a kept one of HTTP may say nothing. */
  lineMs: 10_000,
  /** A client of it that has its answer has this long to close. */
  lineCloseMs: 1_000,
  /** Events that who subscribes there is told of the moment before, as Spacedrive does it. */
  compatReplayEvents: 100,
  compatReplayMs: 5_000,
  /** Events that wait to be translated; beyond, clients are told that all they know may be old. */
  compatEventsWaitingMax: 256,
  /** Jobs of which the last state is remembered, to tell what is new. */
  compatJobsKnownMax: 1_000,
  /** Changed files that are told one by one: the others are asked for by who is shown them. */
  compatChangesMax: 100,

  /** Libraries with unfinished jobs that one shard opens at a time after a start; the others wait for these. */
  takeUpAtOnceMax: 8,
  /** Requests one shard may have in flight or waiting; more get SHARD_BUSY at once. */
  shardInFlightMax: 10_000,
  /** Characters of answers that are written in one turn of the loop, some 20 ms; what is more waits for the next. */
  answeredCharsMax: 4_000_000,
  /** Of answers that a thread keeps of each shard, so as not to ask again: some 7,000, which are 4 to 8 MB. At more it begins anew. */
  keptCharsMax: 4_000_000,
  /** Libraries of one shard of which a thread keeps answers; at more it begins anew. */
  keptLibrariesMax: 1_000,
  /** As many requests as are sent to a shard before the turn of the loop is over: it begins them while others are still read. */
  shardSentAtOnce: 16,
  /** A shard that would begin the last of these only after so long is behind, and work for it is told apart by class. */
  shardBehindMs: 100,
  /** And only where so many are before it: fewer are not in each other's way. */
  shardBehindMin: 64,
  /**
   * One that is behind is given as many ahead as it begins in about so long: less, and it runs dry before the main thread comes to it;
   * more, and what it has cannot be put in another order any more.
   */
  shardAheadMs: 4,
  /** At most as many as in so long, while it begins all it has before the main thread comes to send more. */
  shardAheadMsMax: 14,
  shardAheadMin: 4,
  shardAheadMax: 512,
  /** A shard begins requests for so long in one turn of its loop, then those that go on over many turns have theirs. */
  shardTurnMs: 3,
  /** What it has answered meanwhile is told after so long. */
  shardAnswersMs: 1.5,
  /** Answers of a shard that are so long go to each thread that asks it in memory of this size, as long as there is room; a power of two. */
  longAnswerBytesMin: 4 << 10,
  longAnswersBytes: 4 << 20,
  /** Memory that is kept at hand for answers that are about to leave. */
  spareBytesMax: 2 << 20,
  /** Requests under way on one shard that go on for many turns of its loop, as long searches do: so many have connections of their own. */
  longAtOnceMax: 4,
  /** Of requests that may be such, so many are sent ahead to a shard that is behind, as long as fewer than those go on. */
  longAheadMax: 32,
  /** Interactive requests that wait for one shard; then one of who has the most in line gets OVERLOADED. */
  interactiveWaitingMax: 5_000,
  /** Mutations that wait for one shard; more get OVERLOADED at once. */
  mutationsWaitingMax: 3_000,
  /** Files to be sent that wait for one shard; then the oldest gets OVERLOADED. */
  streamsWaitingMax: 64,
  /** Up to so many of a class wait in their order until their callers give up: a burst, or slow questions. More are a crowd. */
  queueCrowdMin: 256,
  /** And only where one of them has waited for so long: what is quick has no crowds. */
  queueCrowdMs: 400,
  /** So long after it was last seen a crowd is taken to be there still; it is there while half as many are refused as are served. */
  queueCrowdLeftMs: 500,
  /** After so long it has to be seen anew by how many wait: those who ask again at once because they are refused are no crowd. */
  queueCrowdTrustedMs: 30_000,
  /** In a crowd it counts what was begun for each in one to two times so long: who had less than others is first. */
  queueServedMs: 1_000,
  /**
   * In a crowd who has something in flight already is refused what else it wants to read, unread, while so many wait; where fewer are
   * begun in time, already while as few as a quarter of it do.
   */
  queueCrowdEnough: 64,
  /** Refusals of what was not read are gathered for so long, by client: a system call costs more than all else of one. */
  refusalsGatherMs: 100,
  /** In a crowd the newest are served first, and who waited this long gets OVERLOADED: nobody would come to it. */
  interactiveAgeMs: 12,
  /** And whom the shard would begin later than so long after it came: in the order in which it was sent it has yet to be come to. */
  interactiveBegunMs: 18,
  /** In a crowd of mutations, which keep their order, who waited this long gets OVERLOADED. */
  mutationAgeMs: 500,
  /** A shard that does nothing for longer than this is not busy but stands still, and who waits for it does not grow older. */
  queueStepMsMax: 100,
  /** How often it is looked who has waited for too long. */
  queueLookMs: 10,
  /** In a crowd turns of a front's loop begin so far apart. */
  crowdTurnMs: 3,
  /** OVERLOADED says to come back within 1 to so many seconds, at random. */
  overloadedRetryMs: 3_000,
  /** Who waited this long for no more than a class guarantees is not overtaken any more, by no thread. */
  leaseOvertakenMs: 100,
  /**
   * Descriptors of one class that a thread keeps at hand when it gives them back: two first connections of a library. Whoever finds no
   * room takes them, so that no more than the time of that depends on it.
   */
  leaseStockMax: 8,
  /** How long a library open may wait for descriptors before BUDGET_EXHAUSTED. */
  libraryLeaseWaitMs: 5_000,
  /** Meanwhile idle libraries are asked to give way once in this time: one that was busy before may be idle now. */
  libraryRoomAgainMs: 50,
  /** Connections of one library: one writer and up to four readers. */
  poolConnectionsMax: 5,
  /** Libraries that are too much for one shard are looked for this often. */
  sharingLookMs: 250,
  /** One is that has so many requests in flight at so many looks in a row: others then read it as well, */
  sharingInFlightMin: 16,
  sharingLooks: 4,
  /** while its shard was idle for no more of the time than this leaves, */
  sharingBusyMin: 0.8,
  /** until fewer were in flight of all of them, or all together had no more to do than one of them can, for so long. */
  sharingBusyEnd: 0.6,
  sharingQuietMs: 10_000,
  /** A further connection of a pool that was not used for this long is closed. */
  poolReaderIdleMs: 10_000,
  /** A library that was not used for this long is closed. */
  libraryIdleMs: 300_000,
  /** Pressure is looked at this often, by the main thread and by each shard: a cut of the limit is to be felt within 2 s. */
  pressureCheckMs: 250,
  /** Of what comes and goes, as a loop that is late, that much counts as was there at so many of these looks in a row: for a second. */
  pressureStandsLooks: 5,
  /** How late the main loop is at which elevated, high and critical pressure begin: control is to be answered within the first. */
  loopLateMs: [100, 250, 500],
  /** How long who asks a shard waits for it to begin, at the same. */
  queueWaitedMs: [100, 400, 1_000],
  /** How much memory is in use is looked at this often: it costs some kernels a millisecond. */
  memoryLookMs: 1_000,
  /** Of a file of the kernel's that is read again and again: with 65,536 groups, the most there are, a process has 0.7 MB to say. */
  heldTextBytesMax: 1 << 20,
  /** While memory is short caches are given back once in this time: what was in them is soon wanted again, and it takes 40 ms. */
  memoryGiveBackMs: 30_000,
  /** While memory is nearly used up, clients may leave this share of what they may else leave unread. */
  memoryUnreadShare: 1 / 4,
  /** Of what is refused because of the loop, memory or the queues, each thread lets one through in this time. */
  pressedLetThroughMs: 1_000,
  /** Of files that are refused because of a crowd, one in so long, and a millisecond later for so many bytes that are read of any. */
  crowdFileMs: 4,
  crowdFileBytesInMs: 64 << 10,
  /** Under pressure idle clients are closed a few at a time, as nginx does: one in so many of the idle, and so many at most. */
  giveWayClientsShare: 8,
  giveWayClientsMax: 32,
  /** After critical pressure more is asked back until it is normal, but no longer than this: who works cannot give way. */
  pressureWorstMs: 5_000,
  /** A client that asked within this time is at work, and keeps its place even when more is held than there is. */
  clientRestMs: 500,
  /** A library that was used within this time is not idle, unless more is held than there is. */
  libraryRestMs: 1_000,
  /** One that is to be deleted waits for those that work on it no longer than this, and looks for them as often as this. */
  libraryFreeMs: 10_000,
  libraryFreeLookMs: 20,
  /** A library asked for within this time of being closed to make room was closed too early. */
  libraryReopenedMs: 10_000,
  /** It then stays open for so long, as long as another can give way. */
  libraryKeptMs: 5_000,
  /** Libraries closed to make room that one shard remembers. */
  librariesEvictedMax: 4_096,
  /** A job that waited this long under high pressure may take what its class is guaranteed: nobody else could use that. */
  jobPressureWaitMs: 60_000,
  /** Pages of the write-ahead log (16 MB) past which a commit also takes them into the database. */
  walFramesMax: 4_000,
  /** KiB of rows that are sorted in memory at a time, the others being in a file. */
  sortKibMax: 2_000,
  /** A larger database is not compacted: its copy is in memory meanwhile. */
  compactBytesMax: 2 ** 31,
  /** SQLite waits this long for a lock that another process holds. */
  busyMs: 2_000,

  /** Rows applied in one transaction: about 10 ms, during which requests of the shard wait. */
  batchEntriesMax: 2_000,
  /** Names that came up lately are remembered with their ids, twice so many: some 2 MB. */
  namesRecentMax: 8_192,
  /** While the hashes of all names are in memory, none that is new is looked for on disk: so many take 16 MB. */
  namesTabledMax: 1_000_000,
  /** Names without a hash on disk are read when a library is opened: so many take a few milliseconds. */
  namesUnhashedMax: 16_384,
  /** During a first scan, after which all have one: 0.1 s for whoever opens the library after a crash. */
  namesUnhashedFirstMax: 131_072,
  /** Hashes that are written with one commit: some 5 ms. */
  hashesACommitMax: 8_192,
  /** Entries of a first scan at which the index of their names is built at the latest: to sort so many takes half a second. */
  namesIndexLaterMax: 1_500_000,
  /** A directory of more is compared in slices of a batch: gathered, so many take 50 ms in one turn, and 10 MB. */
  compareWholeMax: 20_000,
  /** So much older than a look at it a file has to be for its birth to prove that it was seen: file systems tell it in steps of up to two seconds. */
  bornBeforeMs: 2_000,
  /** Batches a walk may be ahead of the shard that applies them. */
  walkAheadBatchesMax: 4,
  /** A directory that could not be read is tried again after this, doubled at each try. */
  unverifiedMs: 30_000,
  unverifiedMsMax: 3_600_000,
  /** So many of one location at a time, and so many are told with a location. */
  unverifiedAtOnceMax: 100,
  unverifiedToldMax: 10,
  /**
   * What a thread of ours has of young objects before it looks which are still used; V8's own bound is 48. An index took 50 to 80 MB
   * more with it, and a tenth more CPU: what is looked through sooner is still in the caches of the processor.
   */
  threadYoungMb: 6,
  /**
   * What a thread of ours may have of objects that live on; with more it ends, and another takes its place. Under a bound below 2,048 V8 looks
   * through them before they are twice what was left the last time, else before four times: an index of a million took 60 MB more.
   */
  threadOldMb: 2_000,
  /** A thread gives back what its start left so long after it: by then it is over, and what came with it is under way. */
  afterStartMs: 1_000,
  /** After a scan of so many entries memory is given back, which may take 40 ms. */
  scanLargeMin: 50_000,
  /** Jobs of one shard that run at a time; the others wait in line, in the database. */
  jobsRunningMax: 2,
  /** Files read by one task thread in one go, which a job that is stopped may have to wait for one of: 40 ms. */
  identifyFilesMax: 500,
  /** Batches of files that one job has read at a time, or has waiting to be written. */
  identifyAheadMax: 3,
  /** A file written so little ago may be written again without its time telling. */
  identifyFreshMs: 50,
  /** Bytes of one file that are read for what its header says, beside those that its id is made of: what lies further back is not found. */
  mediaBytesMax: 256 * 1_024,
  /** Bytes of it read in one go, of which mostly a few are wanted. */
  mediaPieceBytes: 4_096,
  /** Looks at one header, each at a few bytes: 5 ms, where it is made to lead on and on. */
  mediaStepsMax: 20_000,
  /** Changes are let gather for this long before their files are read. */
  identifyDelayMs: 1_000,
  /** What nobody watches is scanned so long after its library was first opened since a start: who opened it comes first. */
  firstLookDelayMs: 1_000,
  /** A file that could not be read is tried again after this, then after four times as long, and so on. */
  identifyAgainMs: 250,
  identifyAgainMsMax: 600_000,
  /** A job waits this long for one that was being written; beyond, another job reads it. */
  identifyWaitMs: 1_000,
  /** Files of one group of duplicates that are named. */
  duplicateFilesMax: 20,
  /** Bytes read in one go of a file that is read to its end: 0.1 ms, after which a stop is obeyed. */
  wholePieceBytes: 256 * 1_024,
  /** Bytes of the first of some files that are kept while the others are compared with them. */
  compareSegmentBytes: 4 * 1_024 * 1_024,
  /** Bytes of files read to their ends between two commits, unless one file has more. */
  wholeBatchBytes: 256 * 1_024 * 1_024,
  /** Groups of duplicates that one request may have compared. */
  compareGroupsMax: 500,
  /** Different contents told apart within one group; what is left is not compared. */
  compareSetsMax: 16,
  /** How long the reading of a file waits for a descriptor that somebody outside the ledger took. */
  identifyPatienceMs: 30_000,
  /** Finished jobs a library remembers. */
  jobsKeptMax: 200,
  /** Failures (unreadable directories, …) a job keeps in words; beyond it only counts. */
  jobFailuresKeptMax: 100,
  /** A job waits this long for descriptors of its own: it never fails for lack of them. */
  jobLeaseWaitMs: 24 * 3_600_000,
  /** What a job did not return is taken back this long after its end: what it began may still be closing. */
  jobLeakGraceMs: 10_000,
  /** Leases a job did not return that its result names. */
  jobLeaksKeptMax: 10,
  /** Progress of one job is published at most once in this time. */
  jobProgressMs: 250,
  /** Of a library that is made of a copy, so much is written before the disk must have it: what others write waits behind no more. */
  copyUnsyncedBytesMax: 32 << 20,

  /** What happened is taken in this often: half of how late a change may be seen, and enough for both halves of a rename. */
  watchTickMs: 25,
  /** Where fs.watch watches: so many events at once that the kernel may have lost some of 16,384, and how often that is supposed in any case. */
  watchEventsMax: 8_192,
  watchReconcileMs: 600_000,
  /** Work on watches in one tick, between which the kernel's queue of 16,384 events is emptied. */
  watchSliceMs: 15,
  /** Changed names in one directory; beyond, all of it is read. */
  watchNamesMax: 1_000,
  /** Changed directories and names in one location; beyond, it is scanned as a whole. */
  watchDirtMax: 20_000,
  /** What cannot be watched is read this often, and what could not be had is asked for again. */
  watchPollMs: 5_000,
  /** The pause after a round of polling is at least so many times as long as the round: 5 % of a core at the most. */
  watchPollRest: 20,
  /** A location of which a job runs, or whose library cannot be had, gets its changes after this, doubled at each try. */
  watchAgainMs: 250,
  watchAgainMsMax: 2_000,
  /** Without a thread to watch, locations are scanned this often. */
  watchScanMs: 60_000,
  /** How much of a location is watched is told at most once in this time. */
  watchTellMs: 500,

  /** Rows of one page: default and most. */
  pageDefault: 100,
  pageMax: 1_000,
  /** Children of a directory that are put in order in one go, some 10 ms; of more only the order is kept, 8 bytes each. */
  listAtOnceMax: 2_000,
  /** Who goes through more than that is told of those that were there when it began, for so long: none twice, and none left out. */
  listingKeptMs: 300_000,
  /** A search that takes longer than this goes on between other requests. */
  searchAtOnceMs: 5,
  /** Without a connection of its own it is begun again so often when entries changed meanwhile. */
  searchTriesMax: 3,
  /** Characters of a search query. */
  queryCharsMax: 1_000,
  /** A cursor holds the last name, twice where it sorts otherwise than it is written, and a byte of a name may take eight characters. */
  cursorCharsMax: 8_192,
  /** Globs of one kind that a location may have, and characters of one: each is held against each name. */
  globsMax: 1_000,
  patternCharsMax: 1_024,
  /** Patterns of one .gitignore that hold, and bytes of it that are read; the largest in use have some thousand lines. */
  patternsOfFileMax: 10_000,
  patternFileBytesMax: 1 << 20,
  /** Extensions of one search: the trigrams of each are looked up. */
  extensionsMax: 32,
  /** Filters of one search that may not hold. */
  filtersNotMax: 16,
  /** Words and patterns of one search. */
  termsMax: 32,
  /** Steps of the patterns of one search: in the worst of names a character costs some nanoseconds for each of them. */
  patternWeightMax: 600,
  /** A search gives way to other requests after this long. */
  searchSliceMs: 3,
  /** Characters of a library's or location's name. */
  nameCharsMax: 200,

  /** Tags of one library: they are kept in memory while it is open, some 300 bytes each. */
  tagsMax: 10_000,
  /** Names of a tag beside its own. */
  tagAliasesMax: 32,
  /** Tags above each other, the lowest included: deeper trees nobody finds his way in. */
  tagDepthMax: 16,
  /** Characters of a tag's name, and of its description. */
  tagNameCharsMax: 100,
  tagDescriptionCharsMax: 1_000,
  /** Entries that get or lose a tag in one request: some 10 ms, like a batch of a scan. */
  tagEntriesMax: 1_000,
  /** Tags of one search, all of which an entry has. */
  tagsSoughtMax: 16,
  /** Names that an error about an unknown tag proposes. */
  tagsProposedMax: 3,
  /**
   * Tags of entries that went, which wait for something to come to the same path: some 20 MB. Beyond it those that wait the longest
   * are forgotten, a few at a time. No time ends it: a clock that is set would.
   */
  tagsKeptMax: 100_000,
  tagsForgottenAtOnce: 1_000,

  /** Tokens beside the owner's, those that have expired included: 300 bytes each, looked through by name. */
  tokensMax: 1_000,
  /** Libraries that one of them is for. */
  tokenLibrariesMax: 100,
  /** When a token was last used is stored so often: a crash forgets as much. */
  tokenUseStoredMs: 60_000,

  /**
   * Wrong tokens of one address, or the same one from wherever, that are answered as any other; after these one in `guessMs`. More
   * than somebody needs who mistypes; for a guesser nothing, as 256 bits are not guessed, but his noise is bounded.
   */
  guessesMax: 20,
  guessMs: 3_000,
  /** Addresses and wrong tokens that are remembered, of 100 bytes each: beyond it those not heard of for the longest are forgotten. */
  guessersMax: 4_096,

  /** Who connects over TCP has asked for something within this, or goes: a slow link takes a second for that. */
  strangerMs: 2_000,
  /** When all connections are taken, those who have shown no token make room down to one in so many of all, before anybody else. */
  strangersShare: 8,
  /** One of them makes room when it was silent for so long: whoever has just come has had no chance to ask. */
  strangerChanceMs: 500,

  /** Who connects by TLS has shaken hands within this, or goes: a slow link takes a second for that. */
  handshakeMs: 10_000,
  /** The files of the certificate are looked at this often: two looks after a change it is in force. */
  certificateLookMs: 2_000,
  /** Of either: a chain of certificates takes some ten thousand. */
  certificateBytesMax: 1 << 20,

  /** Draining: in-flight answers, then jobs, then libraries; after this the rest is cut off. */
  drainMs: 10_000,
  /** A crashed shard is replaced after this, doubled at each crash within a minute. */
  shardRestartMs: 100,
  shardRestartMsMax: 10_000,

  /** A WebSocket that was closed may keep its descriptor for so long: what uWebSockets.js gives its peer to close as well. */
  leavingMs: 16_000,
  /** Descriptors described in one go, about 3 ms; requests go first between two of them. */
  lookSliceMax: 1_000,
  /** All descriptors are looked at once in this time at least, and after a second when their count cannot be explained. */
  lookMs: 4_000,
  /** A descriptor without a holder counts as one when it had none for this long: an open may be ahead of the word of it. */
  leakSettleMs: 1_500,
  /** So many more of those raise `descriptors.leak`: one or two may be an addon's habit. */
  leakGrowthMin: 3,
  /** And at most once in this time. */
  leakAlarmMs: 10_000,
  /** Link targets that an alarm lists. */
  leakTargetsMax: 10,

  /** The log file is renamed aside at this size; one older file is kept. */
  logBytesMax: 16 << 20,
  /** Connection and descriptor statistics are logged once in this time. */
  statisticsMs: 60_000,
  /** More often than this they would be what fills the log. */
  statisticsMsMin: 1_000,
  /** Want of descriptors that nobody caught is logged at most once in this time, and counted each time. */
  survivedLogMs: 10_000,
  /** After an error that ends the daemon the drain may take so much longer than a usual one before the process is ended. */
  faultMs: 2_000,
  /** Records of the flight recorder, 512 bytes each: 34 minutes at one a second, 6 when as much as may be happens. */
  flightRecords: 2_048,
  /** Events the flight recorder takes in one second beside its sample; more are counted only. */
  flightEventsPerSecond: 4,
  /** Minutes of growth from which a slow leak is told. */
  forecastMinutes: 60,

  /** Shards one may ask for: each is a thread of about 9 MB and 4 to 5 descriptors. */
  shardsMax: 64,
  /** Threads that hold descriptors at a time, each with a column of the ledger; a lost one's number is not used again for long. */
  ledgerThreadsMax: 256,
  /** Front threads one may ask for: each is a thread of some 15 MB, 4 to 5 descriptors and a listener, and keeps the last events. */
  frontsMax: 8,
  /** What a front thread has asked of the main thread and has no answer to; more gets SHARD_BUSY. */
  forwardedMax: 2_000,
  /** A front thread counts what it has once in this time, and whenever somebody asks it for the status. */
  frontCountMs: 250,
  /** A thread that is to end is waited for so long: it may stand in a call to a file system that does not answer. */
  threadEndMs: 1_500,
  /** And so long the end of the process, when all that can be saved is. */
  exitMs: 1_000,
  /** Of task threads that do not end so many are replaced by others. */
  threadsStuckMax: 8,
  /** A task thread that is to end while it loads is waited for, but not for longer. */
  threadLoadMs: 2_000,
  /** A front thread that is told to end has so long. */
  frontEndMs: 2_000,
  /** A command asks again for this long where the daemon has too much to do. */
  cliBusyMs: 5_000,
  /** `events` waits this long for a daemon that went away meanwhile, as one that is started anew does. */
  cliAwayMs: 10_000,
  /** The CLI waits this long for a daemon it detaches: a large catalog on a cold disk still makes it. */
  cliStartMs: 30_000,
  /** The CLI waits this long for a stopped daemon to be gone: the drain and some more. */
  cliStopMs: 15_000,
  /** A screen that is watched is drawn again after this. */
  cliWatchMs: 1_000,
  /** Progress is printed once in this time where it is not shown on a terminal. */
  cliProgressLineMs: 3_000,
  /** `doctor` waits this long for a daemon to answer before it calls it stuck: a turn of a busy loop is a tenth of it. */
  doctorPatienceMs: 2_000,
  /** Daemons it asks at a time: each costs it a descriptor. */
  doctorAskedAtOnce: 8,
  /** Other programs it lists. */
  doctorHungryMax: 10,
  /** Events of the flight recorder it shows: the last ones are about what is wrong now. */
  doctorFlightMax: 8,
  /** It warns when the budget will be full sooner than this. */
  doctorExhaustionSeconds: 600,
  /** Descriptors of one user it looks at for watches: some 5 µs each. */
  doctorLinksMax: 65_536,
  /** It warns when the disk of the data directory has less left than this. */
  doctorFreeBytesMin: 100 << 20,
  doctorFreeInodesMin: 1_000,
  /** What macOS is told as its hard limit: more is refused by kern.maxfilesperproc on small machines. */
  hardOfMac: 524_288,
  /** Lines of the log that `spacedrive logs` shows unless told otherwise, and most. */
  cliLogLines: 50,
  cliLogLinesMax: 100_000,
} as const

assert(LIMITS.pageDefault <= LIMITS.pageMax)
// Of two that are compared in slices one is looked through before the next ends.
assert(LIMITS.batchEntriesMax <= LIMITS.compareWholeMax)
assert(LIMITS.libraryLeaseWaitMs < LIMITS.responseMs)
assert(LIMITS.drainMs < LIMITS.responseMs)
assert(LIMITS.drainMs < LIMITS.cliStopMs)
assert(LIMITS.strangerChanceMs < LIMITS.strangerMs && LIMITS.strangerMs < LIMITS.responseMs)
assert(LIMITS.feedEventsAheadBytes < LIMITS.feedBufferedBytesMax)
assert(LIMITS.feedBufferedBytesMax < LIMITS.feedUnreadBytesMax)
assert(LIMITS.feedUnreadBytesMax <= LIMITS.unreadBytesMax / LIMITS.frontsMax)
assert(
  LIMITS.shardAheadMax + LIMITS.interactiveWaitingMax + LIMITS.mutationsWaitingMax + LIMITS.streamsWaitingMax <
    LIMITS.shardInFlightMax,
)
assert(LIMITS.shardTurnMs < LIMITS.shardAheadMs && LIMITS.shardAheadMs < LIMITS.interactiveAgeMs)
assert(LIMITS.mutationAgeMs < LIMITS.responseMs)
assert(LIMITS.softWarn < LIMITS.softRecommended && LIMITS.softRecommended < LIMITS.softMax)
