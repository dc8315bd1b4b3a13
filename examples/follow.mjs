// How many files match, told whenever that changes; goes on over restarts of the daemon.
// node examples/follow.mjs http://127.0.0.1:8080 TOKEN LIBRARY QUERY
import { connect } from 'spacedrive'

const [url, token, library, query] = process.argv.slice(2)
const client = await connect(url, { token, patienceMs: 60_000 })
let told = -1

async function tell() {
  const { total } = await client.call('search.files', { library, query, limit: 1 })
  if (total !== told) console.log(`${total} files match ${query}`)
  told = total
}

const ended = (error) => console.error(error.message)
await client.subscribe({ library, types: ['entries.changed', 'library.opened'] }, () => void tell(), ended)
await tell()
