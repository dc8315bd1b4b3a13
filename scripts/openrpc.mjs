// docs/openrpc.json: the operations as OpenRPC tells them, for `rpc.discover`. Parameters come from the schemas that check them,
// results from the types that the clients are given, words from scripts/protocol.mjs.
import assert from 'node:assert'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const RESULTS = join(ROOT, 'src', 'protocol', 'results.ts')

/** @returns of each operation the JSON schema of its result, and the shapes that they refer to */
export function resultSchemas() {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile).config,
    ts.sys,
    ROOT,
  )
  const program = ts.createProgram([RESULTS], { ...options, noEmit: true })
  const schemas = new Schemas(program.getTypeChecker())
  const source = program.getSourceFile(RESULTS)
  const declared = source.statements.find((each) => ts.isInterfaceDeclaration(each) && each.name.text === 'Results')
  assert(declared, 'results.ts has an interface Results')
  const results = declared.members.map((member) => [
    member.name.text,
    schemas.of(schemas.checker.getTypeAtLocation(member)),
  ])
  return { results: Object.fromEntries(results), shapes: Object.fromEntries([...schemas.shapes].toSorted()) }
}

/** JSON schemas of types of plain data; an interface becomes a shape of its own, which others refer to. */
class Schemas {
  shapes = new Map()

  constructor(checker) {
    this.checker = checker
  }

  of(type) {
    if (type.isUnion()) return this.#union(type)
    if (type.flags & (ts.TypeFlags.Unknown | ts.TypeFlags.Any)) return {}
    if (type.isLiteral()) return { const: type.value }
    if (type.flags & ts.TypeFlags.BooleanLiteral) return { const: type.intrinsicName === 'true' }
    if (type.flags & ts.TypeFlags.Null) return { type: 'null' }
    if (type.flags & ts.TypeFlags.Number) return { type: 'number' }
    if (type.flags & ts.TypeFlags.String) return { type: 'string' }
    if (this.checker.isArrayType(type)) return { type: 'array', items: this.of(this.checker.getTypeArguments(type)[0]) }
    assert(
      type.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection),
      `plain data: ${this.checker.typeToString(type)}`,
    )
    return this.#named(type) ?? this.#object(type)
  }

  /** In an order of its own: the compiler's depends on what it came to first. */
  #union(type) {
    const types = type.types.filter((each) => !(each.flags & ts.TypeFlags.Undefined))
    if (types.length === 1) return this.of(types[0])
    if (types.every((each) => each.flags & ts.TypeFlags.BooleanLiteral)) return { type: 'boolean' }
    if (types.every((each) => each.isStringLiteral())) return { enum: types.map((each) => each.value).toSorted() }
    return { anyOf: types.map((each) => this.of(each)).toSorted(byText) }
  }

  /** Pages and the like have the names of their arguments in them, and are told where they stand. */
  #named(type) {
    const symbol = type.aliasSymbol ?? type.symbol
    const name = symbol?.name
    const generic = (this.checker.getTypeArguments?.(type) ?? []).length > 0 || type.aliasTypeArguments
    if (type.isIntersection() || !symbol || name.startsWith('__') || generic) return null
    if (!this.shapes.has(name)) {
      this.shapes.set(name, {})
      this.shapes.set(name, { ...words(symbol, this.checker), ...this.#object(type) })
    }
    return { $ref: `#/components/schemas/${name}` }
  }

  #object(type) {
    const each = type.getStringIndexType()
    const properties = type.getProperties().map((property) => {
      const of = this.of(this.checker.getTypeOfSymbol(property))
      return [property.name, { ...words(property, this.checker), ...of }]
    })
    const optional = (property) => (property.flags & ts.SymbolFlags.Optional) !== 0
    const required = type.getProperties().filter((property) => !optional(property))
    return {
      type: 'object',
      ...(properties.length === 0 ? {} : { properties: Object.fromEntries(properties) }),
      ...(required.length === 0 ? {} : { required: required.map(({ name }) => name) }),
      ...(each ? { additionalProperties: this.of(each) } : {}),
    }
  }
}

function byText(a, b) {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}

function words(symbol, checker) {
  const text = ts.displayPartsToString(symbol.getDocumentationComment(checker)).replaceAll(/\s+/g, ' ').trim()
  return text === '' ? {} : { description: text }
}

/**
 * @param operations of each operation `{words, params, result}`: what it does, the JSON schema of its parameters, words about its
 *   result
 */
export function openrpc(version, operations) {
  const { results, shapes } = resultSchemas()
  const methods = Object.entries(operations).map(([name, { words: description, params, result }]) => ({
    name,
    description,
    paramStructure: 'by-name',
    params: Object.entries(params.properties).map(([key, schema]) => ({
      name: key,
      ...((params.required ?? []).includes(key) ? { required: true } : {}),
      schema,
    })),
    result: { name: 'result', description: result, schema: results[name] },
  }))
  return {
    openrpc: '1.3.2',
    info: { title: 'spacedrive', version, description: 'See docs/protocol.md for events, errors and bounds.' },
    methods,
    components: { schemas: shapes },
  }
}
