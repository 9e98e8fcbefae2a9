/*
 * Java's sockets, for tests/e2e/java. Servers give back what they get; clients check it.
 *
 * Sockets selector|threads ADDRESS PORT             a server: one selector, or a thread for each connection
 * Sockets connect|channels ADDRESS PORT COUNT       a client: blocking in threads, or one selector
 * Sockets http ADDRESS PORT, Sockets get URL HASH   the JDK's HTTP server of files, and its client
 * Sockets close ADDRESS PORT OWN ROUNDS             what a blocked thread meets when another one closes its socket; the port is
 *                                                   that of a server that neither reads nor writes, OWN the program's address
 */
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

public class Sockets {
	static InetSocketAddress address;

	public static void main(String[] args) throws Exception {
		if (!args[0].equals("get"))
			address = new InetSocketAddress(args[1], Integer.parseInt(args[2]));
		switch (args[0]) {
		case "selector" -> selector();
		case "threads" -> threads();
		case "connect" -> connect(Integer.parseInt(args[3]));
		case "channels" -> channels(Integer.parseInt(args[3]));
		case "http" -> http();
		case "get" -> get(URI.create(args[1]), args[2]);
		case "close" -> close(InetAddress.getByName(args[3]), Integer.parseInt(args[4]));
		default -> throw new IllegalArgumentException(args[0]);
		}
	}

	static byte[] data(int seed) {
		Random random = new Random(seed);
		byte[] data = new byte[new int[] {1, 1000, 100000, 1000000}[seed % 4]];
		random.nextBytes(data);
		return data;
	}

	static void selector() throws IOException {
		Selector selector = Selector.open();
		ServerSocketChannel server = ServerSocketChannel.open().bind(address, 100);
		server.configureBlocking(false);
		server.register(selector, SelectionKey.OP_ACCEPT);
		while (true) {
			selector.select(key -> {
				try {
					serve(selector, key);
				} catch (IOException e) {
					key.cancel();
				}
			});
		}
	}

	static void serve(Selector selector, SelectionKey key) throws IOException {
		if (key.isAcceptable()) {
			SocketChannel channel = ((ServerSocketChannel)key.channel()).accept();
			if (channel == null)
				return;
			channel.configureBlocking(false);
			channel.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(30000));
			return;
		}
		SocketChannel channel = (SocketChannel)key.channel();
		ByteBuffer buffer = (ByteBuffer)key.attachment();
		if (key.isReadable() && channel.read(buffer) < 0) {
			channel.close();
			return;
		}
		buffer.flip();
		channel.write(buffer);
		key.interestOps(buffer.hasRemaining() ? SelectionKey.OP_WRITE : SelectionKey.OP_READ);
		buffer.compact();
	}

	static void threads() throws IOException {
		ServerSocket server = new ServerSocket();
		server.setReuseAddress(true);
		server.bind(address, 100);
		while (true) {
			Socket socket = server.accept();
			new Thread(() -> {
				try (socket) {
					socket.getInputStream().transferTo(socket.getOutputStream());
				} catch (IOException e) {
				}
			}).start();
		}
	}

	static boolean exchange(int seed) throws Exception {
		byte[] data = data(seed);
		try (Socket socket = new Socket()) {
			socket.connect(address, 10000);
			socket.setSoTimeout(20000);
			socket.setTcpNoDelay(true);
			Thread writer = new Thread(() -> {
				try {
					socket.getOutputStream().write(data);
					socket.shutdownOutput();
				} catch (IOException e) {
				}
			});
			writer.start();
			byte[] back = socket.getInputStream().readAllBytes();
			writer.join();
			return Arrays.equals(data, back);
		}
	}

	static void connect(int count) throws Exception {
		var pool = Executors.newFixedThreadPool(20);
		List<Future<Boolean>> results = new ArrayList<>();
		for (int i = 0; i < count; i++) {
			int seed = i;
			results.add(pool.submit(() -> exchange(seed)));
		}
		int good = 0;
		for (var result : results)
			good += result.get() ? 1 : 0;
		pool.shutdown();
		System.out.println(good + " of " + count);
	}

	static class Exchange {
		final ByteBuffer out, in;

		Exchange(byte[] data) {
			out = ByteBuffer.wrap(data);
			in = ByteBuffer.allocate(data.length);
		}
	}

	static void channels(int count) throws IOException {
		Selector selector = Selector.open();
		for (int i = 0; i < count; i++) {
			SocketChannel channel = SocketChannel.open();
			channel.configureBlocking(false);
			channel.connect(address);
			channel.register(selector, SelectionKey.OP_CONNECT, new Exchange(data(i)));
		}
		int good = 0, open = count;
		while (open > 0) {
			if (selector.select(20000) == 0)
				break;
			var keys = selector.selectedKeys().iterator();
			while (keys.hasNext()) {
				SelectionKey key = keys.next();
				keys.remove();
				Exchange e = (Exchange)key.attachment();
				SocketChannel channel = (SocketChannel)key.channel();
				if (key.isConnectable() && channel.finishConnect())
					key.interestOps(SelectionKey.OP_READ | SelectionKey.OP_WRITE);
				if (key.isValid() && key.isWritable() && channel.write(e.out) >= 0 && !e.out.hasRemaining())
					key.interestOps(SelectionKey.OP_READ);
				if (key.isReadable() && (channel.read(e.in) < 0 || !e.in.hasRemaining())) {
					good += Arrays.equals(e.in.array(), e.out.array()) ? 1 : 0;
					open--;
					channel.close();
				}
			}
		}
		System.out.println(good + " of " + count);
	}

	static String hash(byte[] data) {
		try {
			return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
		} catch (Exception e) {
			throw new RuntimeException(e);
		}
	}

	/* GET gives the file, POST the hash of what comes. */
	static void http() throws IOException {
		HttpServer server = HttpServer.create(address, 100);
		server.setExecutor(Executors.newCachedThreadPool());
		server.createContext("/", exchange -> {
			try (exchange) {
				byte[] body = exchange.getRequestMethod().equals("POST")
					? hash(exchange.getRequestBody().readAllBytes()).getBytes()
					: Files.readAllBytes(Path.of("." + exchange.getRequestURI().getPath()));
				exchange.sendResponseHeaders(200, body.length);
				exchange.getResponseBody().write(body);
			}
		});
		server.start();
	}

	static void get(URI uri, String hash) {
		HttpClient client = HttpClient.newHttpClient();
		List<java.util.concurrent.CompletableFuture<Boolean>> results = new ArrayList<>();
		for (int i = 0; i < 10; i++)
			results.add(client.sendAsync(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofByteArray())
				.thenApply(answer -> answer.statusCode() == 200 && hash(answer.body()).equals(hash)));
		System.out.println(results.stream().filter(r -> r.join()).count() + " of 10");
	}

	interface Blocking {
		void run() throws Exception;
	}

	/* A thread blocks, another one acts a moment later: what it meets, or that it does not wake up. */
	static void meets(String name, Blocking blocking, Blocking action) throws Exception {
		String[] met = {"nothing"};
		Thread thread = new Thread(() -> {
			try {
				blocking.run();
				met[0] = "an end";
			} catch (Exception e) {
				met[0] = e.getClass().getSimpleName();
			}
		});
		blocked = thread;
		thread.start();
		Thread.sleep(200);
		if (!thread.isAlive())
			name += " at once";
		action.run();
		thread.join(5000);
		System.out.println(name + ": " + (thread.isAlive() ? "still blocked" : met[0]));
	}
	static Thread blocked;

	static void fill(OutputStream out) throws IOException {
		byte[] block = new byte[100000];
		while (true)
			out.write(block);
	}

	static void close(InetAddress own, int rounds) throws Exception {
		for (int round = 1; round <= rounds; round++) {
			Socket reader = new Socket(address.getAddress(), address.getPort());
			meets("read", () -> reader.getInputStream().read(), reader::close);

			Socket ended = new Socket(address.getAddress(), address.getPort());
			meets("read and shutdown", () -> {
				if (ended.getInputStream().read() >= 0)
					throw new IOException();
			}, ended::shutdownInput);
			ended.close();

			Socket writer = new Socket(address.getAddress(), address.getPort());
			meets("write", () -> fill(writer.getOutputStream()), writer::close);

			Socket both = new Socket(address.getAddress(), address.getPort());
			Thread second = new Thread(() -> {
				try {
					fill(both.getOutputStream());
				} catch (IOException e) {
				}
			});
			second.start();
			meets("read and write", () -> both.getInputStream().read(), both::close);
			second.join(5000);
			System.out.println("the writer: " + (second.isAlive() ? "still blocked" : "ended"));

			ServerSocket server = new ServerSocket(7000 + round, 10, own);
			meets("accept", server::accept, server::close);

			ServerSocket timed = new ServerSocket(7100 + round, 10, own);
			timed.setSoTimeout(100000);
			meets("accept with a timeout", timed::accept, timed::close);

			DatagramSocket datagram = new DatagramSocket(7200 + round, own);
			meets("receive", () -> datagram.receive(new DatagramPacket(new byte[10], 10)), datagram::close);

			SocketChannel channel = SocketChannel.open(address);
			meets("channel read", () -> channel.read(ByteBuffer.allocate(10)), channel::close);

			SocketChannel interrupted = SocketChannel.open(address);
			meets("channel read, interrupted", () -> interrupted.read(ByteBuffer.allocate(10)), () -> blocked.interrupt());
			System.out.println("the channel is " + (interrupted.isOpen() ? "open" : "closed"));

			SocketChannel filled = SocketChannel.open(address);
			meets("channel write", () -> {
				try {
					while (true)
						filled.write(ByteBuffer.allocateDirect(100000));
				} catch (ClosedChannelException e) { /* at once, or after what it had written by then */
					throw new IOException(e);
				}
			}, filled::close);

			ServerSocketChannel accepting = ServerSocketChannel.open().bind(new InetSocketAddress(own, 7300 + round));
			meets("channel accept", accepting::accept, accepting::close);

			DatagramChannel datagrams = DatagramChannel.open().bind(new InetSocketAddress(own, 7400 + round));
			meets("channel receive", () -> datagrams.receive(ByteBuffer.allocate(10)), datagrams::close);

			Selector selector = Selector.open();
			SocketChannel selected = SocketChannel.open(address);
			selected.configureBlocking(false);
			selected.register(selector, SelectionKey.OP_READ);
			meets("select, woken", () -> selector.select(), selector::wakeup);
			meets("select, closed", () -> selector.select(), selector::close);
			selected.close();

			Socket late = new Socket(address.getAddress(), address.getPort());
			late.setSoTimeout(300);
			meets("read with a timeout", () -> late.getInputStream().read(), () -> { });
			late.close();

			Socket nowhere = new Socket();
			byte[] there = address.getAddress().getAddress();
			there[3] = 77;
			meets("connect", () -> nowhere.connect(new InetSocketAddress(InetAddress.getByAddress(there), 80)), nowhere::close);
			try {
				new Socket(address.getAddress(), 9).close();
				System.out.println("a connection to a closed port");
			} catch (IOException e) {
				System.out.println("refused: " + e.getClass().getSimpleName());
			}
		}
		inherit(own);
	}

	/* Numbers that were closed under blocked threads serve again: connections of the program with itself. */
	static void inherit(InetAddress own) throws Exception {
		try (ServerSocket server = new ServerSocket(7500, 100, own)) {
			AtomicInteger good = new AtomicInteger();
			for (int i = 0; i < 20; i++) {
				byte[] data = data(i % 3);
				try (Socket client = new Socket(own, 7500); Socket accepted = server.accept()) {
					Thread sender = new Thread(() -> {
						try {
							client.getOutputStream().write(data);
							client.shutdownOutput();
						} catch (IOException e) {
						}
					});
					sender.start();
					InputStream in = accepted.getInputStream();
					if (Arrays.equals(in.readAllBytes(), data))
						good.incrementAndGet();
					sender.join();
				}
			}
			System.out.println(good + " of 20 connections with itself");
		}
	}
}
