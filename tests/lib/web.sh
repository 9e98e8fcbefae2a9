# shellcheck shell=bash
# A certificate and an nginx for the end-to-end tests: on port 80, with TLS and HTTP/2 on 443. Files come from $DIR/www, those
# that are PUT below /up/ go to $DIR/up/.

certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem -out cert.pem \
		-subj "/CN=$1" -addext "subjectAltName=IP:$PEER,IP:$APP,DNS:www.example.test" 2>/dev/null
	chmod 644 key.pem
}

# nginx_config: writes nginx.conf, for one process in the foreground.
nginx_config() {
	mkdir -p www up tmp
	chmod 777 up tmp
	certificate ustack-test
	cat >nginx.conf <<-END
		daemon off;
		master_process off;
		worker_processes 1;
		pid $DIR/nginx.pid;
		error_log stderr warn;
		events { worker_connections 4000; }
		http {
			access_log off;
			sendfile on;
			tcp_nopush on;
			keepalive_requests 1000000;
			client_max_body_size 0;
			client_body_temp_path $DIR/tmp/body;
			proxy_temp_path $DIR/tmp/proxy;
			fastcgi_temp_path $DIR/tmp/fastcgi;
			uwsgi_temp_path $DIR/tmp/uwsgi;
			scgi_temp_path $DIR/tmp/scgi;
			server {
				listen 80 backlog=1024;
				listen 443 ssl http2;
				ssl_certificate $DIR/cert.pem;
				ssl_certificate_key $DIR/key.pem;
				root $DIR/www;
				location /up/ { root $DIR; dav_methods PUT; create_full_put_path on; }
			}
		}
	END
}

nginx_peer() {
	nginx_config
	peer_start nginx nginx -e stderr -c "$DIR/nginx.conf"
	wait_peer 80
}
nginx_app() {
	nginx_config
	app_start nginx nginx -e stderr -c "$DIR/nginx.conf"
	wait_app 80
}
