// The headers of one request that the front looks at, read in one pass: only a pass over all of them shows a repeated one.

export class Head {
  host: string | undefined
  hosts = 0
  origin: string | undefined
  site: string | undefined
  authorization: string | undefined
  contentType: string | undefined
  contentLength: string | undefined
  transferEncoding: string | undefined
  /** Whoever stands between may have taken another end of the body than is taken here. */
  isAmbiguous = false
  contentEncoding: string | undefined
  protocols: string | undefined
  upgrade: string | undefined
  key: string | undefined
  extensions: string | undefined
  range: string | undefined
  ifRange: string | undefined
  ifMatch: string | undefined
  ifNoneMatch: string | undefined
  ifModifiedSince: string | undefined
  ifUnmodifiedSince: string | undefined
  lastEventId: string | undefined
  accept: string | undefined

  clear(): void {
    this.host = this.origin = this.site = this.authorization = this.contentType = undefined
    this.contentLength = this.contentEncoding = this.protocols = this.upgrade = this.key = this.extensions = undefined
    this.range = this.ifRange = this.ifMatch = this.ifNoneMatch = this.ifModifiedSince = undefined
    this.ifUnmodifiedSince = this.lastEventId = this.accept = this.transferEncoding = undefined
    this.hosts = 0
    this.isAmbiguous = false
  }

  /** Takes one header, its name in lower case. The first of a repeated one stands. */
  take(name: string, value: string): void {
    switch (name) {
      case 'host':
        this.hosts += 1
        this.host ??= value
        return
      case 'origin':
        this.origin ??= value
        return
      case 'sec-fetch-site':
        this.site ??= value
        return
      case 'authorization':
        this.authorization ??= value
        return
      case 'content-type':
        this.contentType ??= value
        return
      case 'content-length':
        this.isAmbiguous ||= this.contentLength !== undefined || value === ''
        this.contentLength ??= value
        return
      case 'transfer-encoding':
        this.isAmbiguous ||= this.transferEncoding !== undefined || value.toLowerCase() !== 'chunked'
        this.transferEncoding = value
        return
      case 'content-encoding':
        this.contentEncoding ??= value
        return
      case 'upgrade':
        this.upgrade ??= value
        return
      case 'sec-websocket-protocol':
        this.protocols = this.protocols === undefined ? value : `${this.protocols},${value}`
        return
      case 'sec-websocket-key':
        this.key ??= value
        return
      case 'sec-websocket-extensions':
        this.extensions ??= value
        return
      case 'range':
        this.range ??= value
        return
      case 'if-range':
        this.ifRange ??= value
        return
      case 'if-match':
        this.ifMatch = this.ifMatch === undefined ? value : `${this.ifMatch},${value}`
        return
      case 'if-none-match':
        this.ifNoneMatch = this.ifNoneMatch === undefined ? value : `${this.ifNoneMatch},${value}`
        return
      case 'if-modified-since':
        this.ifModifiedSince ??= value
        return
      case 'if-unmodified-since':
        this.ifUnmodifiedSince ??= value
        return
      case 'accept':
        this.accept ??= value
        return
      case 'last-event-id':
        this.lastEventId ??= value
    }
  }
}
