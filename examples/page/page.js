import { connect } from 'spacedrive'

const [url, token] = decodeURIComponent(location.hash.slice(1)).split(',')
const say = (text) => (document.querySelector('p').textContent = text)

try {
  const client = await connect(url, { token, format: 'msgpack' })
  const show = async () => {
    const libraries = await client.call('libraries.list')
    document.querySelector('ul').replaceChildren(
      ...libraries.map(({ name }) => {
        const line = document.createElement('li')
        line.textContent = name
        return line
      }),
    )
    say(`${libraries.length} libraries`)
  }
  await client.subscribe({ types: ['library.created', 'library.deleted'] }, () => void show())
  await show()
} catch (error) {
  say(`${error.code}: ${error.message}`)
}
